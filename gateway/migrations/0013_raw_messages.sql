-- Messages of single devices as they came, kept because an operator asked for it: a ring for each device, for a day.
CREATE TABLE raw_message (
    tenant_id     text NOT NULL,
    device_id     text NOT NULL,
    slot          smallint NOT NULL,
    number        bigint NOT NULL,      -- of the capture's messages, from 0 on
    received_at   timestamptz NOT NULL, -- the gateway's clock
    topic         text NOT NULL,
    payload       bytea NOT NULL,       -- its beginning, where it is long
    payload_bytes integer NOT NULL,
    stored        integer NOT NULL,
    duplicates    integer NOT NULL,
    quarantined   integer NOT NULL,
    reason        text,
    kept_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, device_id, slot)
);
