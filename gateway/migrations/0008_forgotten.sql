-- Batches that make detectors forget devices, as what is told of their alarms.
ALTER TABLE batch DROP CONSTRAINT batch_kind_check;
ALTER TABLE batch ADD CONSTRAINT batch_kind_check CHECK (kind IN ('ingest', 'timer', 'rejudge', 'forget'));

-- What was forgotten, and when by the gateway's clock: no history from before is judged again.
CREATE TABLE forgotten_device (
    tenant_id    text NOT NULL,
    batch_seq    bigint NOT NULL,
    device_id    text NOT NULL,
    why          text NOT NULL CHECK (why IN ('device_removed', 'owner_changed')),
    forgotten_at timestamptz NOT NULL,
    PRIMARY KEY (batch_seq, device_id)
);
CREATE INDEX forgotten_device_of ON forgotten_device (device_id, forgotten_at);
