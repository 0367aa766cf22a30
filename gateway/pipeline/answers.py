"""What devices answer to commands, settled in the transaction that stores their answers."""

from collections.abc import Sequence

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from devices.commands.model import CommandAnswer, read_answer
from devices.commands.queries import take_answers
from gateway.pipeline.told import ACKNOWLEDGEMENT
from gateway.store.rows import EventRow


class _Acknowledgement(msgspec.Struct):
    command_id: str
    answer: object = None


async def settle_commands(conn: AsyncConnection[TupleRow], events: Sequence[EventRow], now_s: float) -> None:
    """Note the answers among a batch's events; a device can answer for its own commands only."""
    told = [_answer_of(event) for event in events if event.code == ACKNOWLEDGEMENT]
    answers = [answer for answer in told if answer is not None]
    if answers:
        await take_answers(conn, answers, now_s)


def _answer_of(event: EventRow) -> CommandAnswer | None:
    """None for an event that a device sent itself under the same code, and that is no answer."""
    try:
        said = msgspec.json.decode(event.data or "", type=_Acknowledgement)
    except (msgspec.DecodeError, RecursionError):
        return None
    return read_answer(event.device_id, said.command_id, said.answer)
