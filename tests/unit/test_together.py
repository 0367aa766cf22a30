"""Statements that share a round trip: in order, all ended, and the database's own complaint is the one heard."""

import asyncio
from pathlib import Path

import pytest
from psycopg import ProgrammingError
from psycopg.errors import AdminShutdown, CheckViolation, PipelineAborted

import crm_sync
from crm_sync.apart import concerns_all
from crm_sync.together import together


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


@pytest.mark.parametrize(("cause", "is_everybodys"), [(CheckViolation(), False), (AdminShutdown(), True)])
def test_statements_that_were_not_worked_are_blamed_on_the_one_before_them(
    cause: Exception, *, is_everybodys: bool
) -> None:
    masked = PipelineAborted()
    masked.__context__ = cause  # as psycopg leaves it, which reads the other answers before it lets go
    assert concerns_all(masked) is is_everybodys
    assert concerns_all(PipelineAborted())


def test_no_statement_of_a_case_is_asked_how_many_rows_it_changed_before_it_is_answered() -> None:
    """Within a pipeline `rowcount` is known only after the next read; RETURNING is asked instead."""
    folder = Path(crm_sync.__file__).parent
    asking = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if ".rowcount" in path.read_text()}
    assert asking == {"delivery/retire.py", "owners/retire.py"}  # housekeeping, statement by statement
