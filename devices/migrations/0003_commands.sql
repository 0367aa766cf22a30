-- Commands to devices: kept until they are delivered or too old, and until the device has answered or had its time.
-- issued_at and expires_at are the gateway's clock; all others are real time, which is what a device answers in.

CREATE TABLE device_command (
    command_id      text PRIMARY KEY CHECK (command_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    tenant_id       text NOT NULL,
    device_id       text NOT NULL,
    name            text NOT NULL,
    data            jsonb NOT NULL,
    issued_by       text NOT NULL,  -- person:<name>, or playbook:<case>
    state           text NOT NULL DEFAULT 'queued' CHECK (state IN (
        'queued', 'sent', 'delivered', 'done', 'refused', 'failed', 'unanswered', 'expired', 'cancelled')),
    detail          text NOT NULL DEFAULT '',  -- what the device said, or why nothing came of it
    issued_at       timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    answer_within_s double precision CHECK (answer_within_s > 0),  -- null: as the gateway's settings say
    tries           integer NOT NULL DEFAULT 0,  -- how often it was sent
    sent_at         timestamptz,
    delivered_at    timestamptz,
    answer_due_at   timestamptz,
    settled_at      timestamptz,
    reached_at      timestamptz,  -- when the device was known to have it, on the gateway's clock
    CHECK (expires_at > issued_at)
);
-- One of a kind at a time, whoever issues it.
CREATE UNIQUE INDEX device_command_one_pending ON device_command (device_id, name)
    WHERE state IN ('queued', 'sent', 'delivered');
CREATE INDEX device_command_pending ON device_command (device_id, issued_at)
    WHERE state IN ('queued', 'sent', 'delivered');
CREATE INDEX device_command_expiring ON device_command (expires_at) WHERE state = 'queued';
CREATE INDEX device_command_awaited ON device_command (answer_due_at) WHERE state IN ('sent', 'delivered');
CREATE INDEX device_command_of_device ON device_command (tenant_id, device_id, issued_at DESC, command_id);
