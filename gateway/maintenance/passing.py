"""What is kept for a day only: changes for who looks on, answers to writes, raw messages that were asked for."""

from typing import Final, LiteralString

from gateway.maintenance.sessions import Connection

FORGET_CHANGES: Final[LiteralString] = "DELETE FROM change WHERE at < clock_timestamp() - interval '1 day'"
FORGET_ANSWERS: Final[LiteralString] = "DELETE FROM answered_write WHERE at < clock_timestamp() - interval '1 day'"

FORGET_MESSAGES: Final[LiteralString] = "DELETE FROM raw_message WHERE kept_at < clock_timestamp() - interval '1 day'"


async def forget_what_passed(conn: Connection) -> None:
    """Let go what is more than a day old; real time, whatever the gateway's clock."""
    await conn.execute(FORGET_CHANGES)
    await conn.execute(FORGET_ANSWERS)
    await conn.execute(FORGET_MESSAGES)
