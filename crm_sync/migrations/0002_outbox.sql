-- What is to be told to CRMs, what was tried, and what they answered.
-- Instants of this file are real time, never a scaled clock's.

-- One stream per endpoint and case: its messages leave in order, one at a time, and block no other stream.
CREATE TABLE outbox_stream (
    stream_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    stream_key text NOT NULL,
    next_seq bigint NOT NULL DEFAULT 1,  -- of the next message to be written
    head_seq bigint NOT NULL DEFAULT 1,  -- of the next message to be delivered; equal to next_seq when there is none
    state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'parked')),
    next_attempt_at timestamptz,  -- null when there is nothing to deliver
    leased_until timestamptz,
    lease_token bigint NOT NULL DEFAULT 0,  -- rises with every claim: a worker that lost its lease is recognised
    failures int NOT NULL DEFAULT 0,  -- attempts that the head has used up
    UNIQUE (tenant_id, endpoint, stream_key)
);
CREATE INDEX outbox_stream_due ON outbox_stream (tenant_id, endpoint, next_attempt_at, stream_id)
    WHERE state = 'live' AND next_attempt_at IS NOT NULL;

CREATE TABLE outbox_message (
    message_id text PRIMARY KEY CHECK (message_id ~ '^msg_[A-Za-z0-9_-]+$'),
    tenant_id text NOT NULL,
    stream_id bigint NOT NULL REFERENCES outbox_stream,
    seq bigint NOT NULL,
    type text NOT NULL,
    body bytea NOT NULL,  -- exactly the bytes that are signed and sent
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead', 'withdrawn')),
    reason text,  -- why it is dead or withdrawn
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    replayed int NOT NULL DEFAULT 0,
    number bigint GENERATED ALWAYS AS IDENTITY,  -- the order in which lists show messages
    UNIQUE (stream_id, seq)
);
CREATE INDEX outbox_message_number ON outbox_message (tenant_id, number);
CREATE INDEX outbox_message_dead ON outbox_message (tenant_id, number) WHERE state = 'dead';
CREATE INDEX outbox_message_pending ON outbox_message (tenant_id, number) WHERE state = 'pending';

-- Written before the request leaves, settled after it: an attempt without a result belongs to a worker that is
-- sending, or that died while it was.
CREATE TABLE delivery_attempt (
    attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    message_id text NOT NULL REFERENCES outbox_message,
    lease_token bigint NOT NULL,
    started_at timestamptz NOT NULL,
    settled_at timestamptz,
    result text CHECK (result IN ('ok', 'unknown', 'retryable', 'rate_limited', 'auth', 'conflict', 'permanent', 'gone')),
    code text,  -- a closed word: http_503, timeout, blocked_target ...
    field text,  -- what the CRM objected to, where it said so
    status int,
    duration_s double precision,
    detail text,
    answer text CHECK (octet_length(answer) <= 4096)  -- redacted
);
CREATE INDEX delivery_attempt_message ON delivery_attempt (message_id, attempt_id);

-- What an endpoint as a whole is doing; a missing row means that all is well.
CREATE TABLE endpoint_state (
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    paused_until timestamptz,  -- it asked to be left alone
    failing_since timestamptz,  -- nothing has succeeded since then
    failed_attempts int NOT NULL DEFAULT 0,  -- since then
    disabled_at timestamptz,
    disabled_reason text,
    PRIMARY KEY (tenant_id, endpoint)
);

-- What a CRM calls a case.
CREATE TABLE external_ref (
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    case_id text NOT NULL,
    external_id text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, endpoint, case_id)
);

-- Every signed callback once: the key is what makes a repeated one harmless.
CREATE TABLE callback_received (
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    webhook_id text NOT NULL,
    sent_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    type text,
    case_id text,
    body bytea NOT NULL,
    effect text NOT NULL,  -- what it changed, or why it changed nothing
    PRIMARY KEY (tenant_id, endpoint, webhook_id)
);
