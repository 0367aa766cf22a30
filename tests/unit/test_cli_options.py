"""What commands read from the command line in common."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from gateway.cli.deliveries import deliveries
from gateway.cli.options import Instant
from gateway.cli.quarantine import quarantine


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01T12:00:00+02:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T12:00:00", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_an_instant_without_an_offset_is_in_utc(said: str, meant: datetime) -> None:
    instant = Instant().convert(said, None, None)
    assert instant == meant
    assert instant.utcoffset() == timedelta(0)


def test_what_is_no_instant_is_refused_in_words() -> None:
    with pytest.raises(click.BadParameter, match="is not an instant such as"):
        Instant().convert("soon", None, None)


def test_every_command_reads_instants_by_this_one_rule() -> None:
    found = [
        parameter
        for group in (quarantine, deliveries)
        for command in group.commands.values()
        for parameter in command.params
        if parameter.name in {"since", "until"}
    ]
    assert len(found) == 8
    assert all(isinstance(parameter.type, Instant) for parameter in found)
