"""What a birth explains is asked for once, and nothing that was noted meanwhile is forgotten."""

from collections.abc import Callable, Mapping
from typing import cast

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.payloads import load_codecs
from devices.payloads.dialect import Recall
from gateway.authority import Authority
from gateway.intake import Verdict
from gateway.pipeline.dialect import Dialects, Expanded

FIRST = Recall("pump", "spBv1.0/g/DDATA/e/pump", "e", 1)
LATER = Recall("pump", "spBv1.0/g/DDATA/e/pump", "e", 2)
OTHER = Recall("e", "spBv1.0/g/NDATA/e", "e", 2)


class Connection:
    """Remembers what it was asked, and lets something happen meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.asked: list[list[str]] = []
        self._meanwhile = meanwhile

    async def execute(self, _query: str, values: Mapping[str, list[str]]) -> None:
        """Take a statement."""
        self.asked.append(values["device_ids"])
        self._meanwhile()

    def as_connection(self) -> AsyncConnection[TupleRow]:
        """What the code under test believes it to be."""
        return cast("AsyncConnection[TupleRow]", cast("object", self))


def new() -> Dialects:
    return Dialects(load_codecs(), Authority(), 1000)


def born(*recalls: Recall) -> Expanded:
    return Expanded((), recalls=recalls)


async def test_a_birth_that_comes_while_an_earlier_one_is_asked_for_is_not_forgotten() -> None:
    dialects = new()
    dialects.committed(born(FIRST))
    conn = Connection(lambda: dialects.committed(born(LATER, OTHER)))
    await dialects.recall(conn.as_connection())
    dialects.recalled()
    assert dialects.has_recalls
    conn = Connection()
    await dialects.recall(conn.as_connection())
    dialects.recalled()
    assert conn.asked == [["pump", "e"]]
    assert not dialects.has_recalls


async def test_what_could_not_be_asked_for_is_asked_for_again() -> None:
    dialects = new()
    dialects.committed(born(FIRST))
    await dialects.recall(Connection().as_connection())  # and its transaction fails
    assert dialects.has_recalls


def test_a_message_s_verdict_is_that_of_its_parts() -> None:
    expanded = Expanded((), whose=[0, 0, 2], messages=3)
    merged = expanded.verdicts_of_messages([Verdict(stored=1), Verdict(duplicates=2), Verdict(filled=1)])
    assert merged == [Verdict(stored=1, duplicates=2), Verdict(), Verdict(filled=1)]
