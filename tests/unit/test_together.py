"""Statements that share a round trip: in order, all ended, and the database's own complaint is the one heard."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from psycopg import ProgrammingError
from psycopg.errors import AdminShutdown, CheckViolation, PipelineAborted

import crm_sync
from crm_sync.apart import concerns_all
from crm_sync.together import together, without_waiting


async def test_reads_are_begun_in_the_order_given_before_one_is_waited_for() -> None:
    begun: list[int] = []
    answered = asyncio.Event()

    async def read(number: int) -> int:
        begun.append(number)
        if len(begun) == 3:
            answered.set()
        await answered.wait()
        return number * 10

    assert await together(read(1), read(2), read(3)) == (10, 20, 30)
    assert begun == [1, 2, 3]


async def test_what_the_database_reported_is_raised_when_the_others_have_ended() -> None:
    ended: list[str] = []

    async def unanswered() -> int:
        raise ProgrammingError("no result available")

    async def refused() -> int:
        raise CheckViolation

    async def late() -> int:
        await asyncio.sleep(0)
        ended.append("late")
        return 1

    with pytest.raises(CheckViolation):
        await together(unanswered(), late(), refused())
    assert ended == ["late"]


class Pipelined:
    """A connection whose statements are answered at the end of its pipeline."""

    def __init__(self, reported: Exception | None, told: Exception) -> None:
        self.reported = reported
        self.told = told

    @asynccontextmanager
    async def pipeline(self) -> AsyncGenerator[None]:
        """Nothing is known before its end."""
        yield
        self.told.__context__ = self.reported  # as psycopg leaves it, which reads the other answers before it lets go
        raise self.told


@pytest.mark.parametrize("reported", [CheckViolation(), AdminShutdown()])
async def test_statements_that_were_not_worked_are_blamed_on_the_one_before_them(reported: Exception) -> None:
    """They are an operational error in psycopg: a row's fault was taken for the database's, and tried without end."""
    with pytest.raises(type(reported)):
        async with without_waiting(cast("Any", Pipelined(reported, PipelineAborted()))):
            pass


async def test_who_was_not_answered_for_reasons_unknown_says_so() -> None:
    with pytest.raises(PipelineAborted) as caught:
        async with without_waiting(cast("Any", Pipelined(None, PipelineAborted()))):
            pass
    assert concerns_all(caught.value)


def test_no_statement_of_a_case_is_asked_how_many_rows_it_changed_before_it_is_answered() -> None:
    """Within a pipeline `rowcount` is known only after the next read; RETURNING is asked instead."""
    folder = Path(crm_sync.__file__).parent
    asking = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if ".rowcount" in path.read_text()}
    assert asking == {"delivery/retire.py", "owners/retire.py"}  # housekeeping, statement by statement
