-- What polling found that no hook had told, by the hour of real time: hooks that are lost show here.
CREATE TABLE record_found (
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    hour timestamptz NOT NULL,
    found int NOT NULL,
    PRIMARY KEY (tenant_id, endpoint, hour)
);
CREATE INDEX callback_received_at ON callback_received (tenant_id, endpoint, received_at);
