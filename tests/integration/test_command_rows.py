"""The rows of commands: whatever fails on the way, each is settled in the end, and holds up no other."""

import psycopg

from devices.commands.model import NewCommand
from devices.commands.queries import mark_delivered, overdue_commands, put_command

AT_S = 1_772_535_600.0


async def test_a_command_that_arrived_unnoticed_is_awaited_no_longer_than_others(plain_database_url: str) -> None:
    """It was handed over, and the database was away when that was to be written down."""
    async with await psycopg.AsyncConnection.connect(plain_database_url) as conn:
        await conn.execute(
            "INSERT INTO device (tenant_id, device_id, partition, source) VALUES ('default', 'd-1', 0, 'import')"
        )
        await put_command(conn, NewCommand("c-1", "default", "d-1", "rest", "person:ann", AT_S, AT_S + 60))
        await mark_delivered(conn, ["c-1"], AT_S)
        await conn.execute("UPDATE device_command SET answer_due_at = answer_due_at - interval '1 h'")
        assert await overdue_commands(conn, "default", 10) == [("c-1", "d-1", "delivered")]
