"""A database of before contacts were counted: those that were made count from the upgrade on."""

import psycopg

from gateway.database.migrate import migrate, read_migrations

BEFORE = {"devices": 2, "crm_sync": 7, "gateway": 5}
"""The newest migrations of the release before."""

FILL = """
INSERT INTO tenant (tenant_id, name) VALUES ('default', 'x') ON CONFLICT DO NOTHING;
INSERT INTO device (tenant_id, device_id, partition, model, source)
VALUES ('default', 'cm-1', 0, 'coffee-machine', 'import');
INSERT INTO asset (tenant_id, asset_id, device_id, model) VALUES ('default', 'asset-1', 'cm-1', 'coffee-machine');
INSERT INTO owner (tenant_id, owner_ref) VALUES ('default', 'own-1');
INSERT INTO ownership (tenant_id, asset_id, owner_ref, since) VALUES ('default', 'asset-1', 'own-1', 'epoch');
INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state)
VALUES ('default', 'own-1', 'service', 'email', 'given');
INSERT INTO service_case (case_id, tenant_id, asset_id, device_id, problem, state, severity, title, brief, team,
                          owner_ref, opened_at, updated_at)
VALUES ('case_1', 'default', 'asset-1', 'cm-1', 'limescale', 'open', 'minor', 't', 'b', 'Care', 'own-1', 'epoch',
        'epoch');
INSERT INTO outbox_stream (tenant_id, endpoint, stream_key) VALUES ('default', 'crm', 'case_1');
INSERT INTO outbox_message (message_id, tenant_id, stream_id, seq, type, body, state)
SELECT 'msg_' || name, 'default', stream_id, row_number() OVER (), 'case.updated', '{}', name
  FROM outbox_stream, unnest(ARRAY['delivered', 'pending', 'dead']) name;
INSERT INTO held_step (step_id, tenant_id, case_id, endpoint, owner_ref, kind, channel, template, text, state, due_at,
                       decided_at, message_id, settled_at)
SELECT name, 'default', 'case_1', 'crm', 'own-1', 'self_help_message', 'email', 'descale', '', state, 'epoch', 'epoch',
       'msg_' || name, '2026-03-03 11:00Z'
  FROM (VALUES ('delivered', 'sent'), ('gone', 'sent'), ('pending', 'sent'), ('dead', 'sent'), ('waits', 'held'))
       AS s (name, state);
"""


async def test_contacts_of_before_the_upgrade_count(empty_database_url: str) -> None:
    known = read_migrations()
    await migrate(empty_database_url, [each for each in known if each.version <= BEFORE[each.package]])
    async with await psycopg.AsyncConnection.connect(empty_database_url) as conn:
        await conn.execute(FILL.encode())
    await migrate(empty_database_url, known)
    async with await psycopg.AsyncConnection.connect(empty_database_url) as conn:
        rows = await conn.execute(
            "SELECT reference, owner_ref, channel, problem, model, action FROM owner_contact ORDER BY reference"
        )
        assert await rows.fetchall() == [
            (name, "own-1", "email", "limescale", "coffee-machine", "descale") for name in ("delivered", "gone")
        ]
        owners = await conn.execute("SELECT device_id, owner_ref FROM device_owner")
        assert await owners.fetchall() == [("cm-1", "own-1")]
