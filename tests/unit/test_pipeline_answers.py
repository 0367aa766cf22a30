"""What is kept under the code of answers to commands, and is none, settles nothing and stops nothing."""

import asyncio
from typing import cast

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from gateway.pipeline.answers import settle_commands
from gateway.pipeline.told import ACKNOWLEDGEMENT
from gateway.store.rows import EventRow

NOWHERE = cast("AsyncConnection[TupleRow]", None)
DEEP = '{"command_id": "c", "answer": ' + 2000 * "[" + 2000 * "]" + "}"


@pytest.mark.parametrize("data", [None, "[]", '{"id": 1}', DEEP])
def test_what_is_no_answer_settles_no_command(data: str | None) -> None:
    event = EventRow("default", "d", 0, ACKNOWLEDGEMENT, None, data, 0, 0, 0, 0)
    asyncio.run(settle_commands(NOWHERE, [event], 0.0))
