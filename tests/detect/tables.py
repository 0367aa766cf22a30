"""Tables of the tests of careloop detect: how their times are written, and what is read of them."""

from datetime import UTC, datetime, timedelta

from click.testing import CliRunner, Result

from gateway.cli.detect import detect
from gateway.detect.columns import Asked
from gateway.detect.instants import Instants
from gateway.detect.tables import Table, TableRow

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def at(hours: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time of this table, as it is written."""
    return (DAY + timedelta(hours=hours)).strftime(form)


def read(text: str, asked: Asked | None = None) -> tuple[list[TableRow], list[str]]:
    """The rows of a table, as they come line by line, and what was said of it."""
    table = Table(asked or Asked("m"), Instants())
    rows: list[TableRow] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        rows += table.rows([(number, line.encode())])
    return [*rows, *table.end()], table.take_notes()


def seen(text: str, asked: Asked | None = None) -> list[tuple[str, float, dict[str, float]]]:
    """Whose, how many hours into the day, and what."""
    return [
        (row.line.device, (row.line.ts_s - DAY.timestamp()) / 3600, row.line.metrics)
        for row in read(text, asked)[0]
        if row.line
    ]


def pipe(data: bytes | str, *arguments: str) -> Result:
    """What comes of standard input."""
    return CliRunner().invoke(detect, [*arguments, "-"], input=data)
