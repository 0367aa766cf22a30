-- What the ingest pipeline writes beside readings. Reading tables are made per product model by gateway/store.
-- Needs PostgreSQL 15 or newer (UNIQUE NULLS NOT DISTINCT).

-- Who may commit: the row is locked and compared at the end of every ingest transaction.
CREATE TABLE ingest_fence (
    tenant_id   text NOT NULL DEFAULT 'default',
    name        text PRIMARY KEY,
    owner       text NOT NULL DEFAULT '',
    fence       bigint NOT NULL DEFAULT 0,
    acquired_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO ingest_fence (name) VALUES ('ingest');

-- One row per ingest transaction. Rows that every detector checkpoint includes are pruned.
CREATE TABLE batch (
    tenant_id    text NOT NULL,
    batch_seq    bigint PRIMARY KEY,
    fence        bigint NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('ingest', 'timer')),
    alive_s      double precision NOT NULL, -- healthy clock when the batch was judged
    now_s        double precision NOT NULL, -- the gateway's clock then
    packets      integer NOT NULL,
    stored       integer NOT NULL,
    duplicates   integer NOT NULL,
    filled       integer NOT NULL,
    quarantined  integer NOT NULL,
    events       integer NOT NULL,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE reading_table (
    tenant_id  text NOT NULL DEFAULT 'default',
    model      text PRIMARY KEY,
    table_name text NOT NULL UNIQUE,
    columns    jsonb NOT NULL, -- [[metric, column], ...] in the order in which the columns were added
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A reading that completed a stored one: what it added, where in arrival order. Detector state is rebuilt from it;
-- pruned like batches.
CREATE TABLE reading_fill (
    tenant_id text NOT NULL,
    batch_seq bigint NOT NULL,
    batch_row integer NOT NULL,
    model     text NOT NULL,
    device_id text NOT NULL,
    ts        timestamptz NOT NULL,
    metrics   jsonb NOT NULL,
    PRIMARY KEY (batch_seq, batch_row)
);

-- An event or a status whose ts equals received_at came without a time of its own.
CREATE TABLE device_event (
    tenant_id   text NOT NULL,
    device_id   text NOT NULL,
    ts          timestamptz NOT NULL,
    code        text NOT NULL,
    seq         bigint,
    data        jsonb,
    received_at timestamptz NOT NULL,
    batch_seq   bigint NOT NULL,
    batch_row   integer NOT NULL,
    CONSTRAINT device_event_identity UNIQUE NULLS NOT DISTINCT (device_id, ts, code, seq)
);
CREATE INDEX device_event_batch ON device_event USING brin (batch_seq);

CREATE TABLE device_status (
    tenant_id   text NOT NULL,
    device_id   text NOT NULL,
    ts          timestamptz NOT NULL,
    code        text NOT NULL CHECK (code IN ('online', 'offline')),
    seq         bigint,
    data        jsonb,
    received_at timestamptz NOT NULL,
    batch_seq   bigint NOT NULL,
    batch_row   integer NOT NULL,
    CONSTRAINT device_status_identity UNIQUE NULLS NOT DISTINCT (device_id, ts, code, seq)
);
CREATE INDEX device_status_batch ON device_status USING brin (batch_seq);

-- A moment at which silences were judged and something came of it; replayed in its place after a crash.
CREATE TABLE timer_decision (
    tenant_id text NOT NULL,
    batch_seq bigint PRIMARY KEY,
    alive_s   double precision NOT NULL,
    now_s     double precision NOT NULL,
    changes   integer NOT NULL
);

CREATE TABLE detector_checkpoint (
    tenant_id  text NOT NULL,
    partition  smallint PRIMARY KEY,
    version    integer NOT NULL,
    batch_seq  bigint NOT NULL, -- the last batch that the state includes
    healthy_s  double precision NOT NULL,
    state      bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE quarantine (
    quarantine_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id           text NOT NULL,
    device_id           text NOT NULL, -- '' when the topic names none
    topic               text NOT NULL,
    codec               text NOT NULL,
    route               smallint NOT NULL,
    reason              text NOT NULL,
    detail              text NOT NULL,
    raw                 bytea NOT NULL,
    digest              bytea NOT NULL, -- sha256 of raw
    first_received_at   timestamptz NOT NULL,
    last_received_at    timestamptz NOT NULL,
    seen                integer NOT NULL DEFAULT 1,
    replay_requested_at timestamptz,
    replayed_at         timestamptz,
    outcome             text, -- of the last replay: stored, filled, duplicate, or quarantined
    CONSTRAINT quarantine_identity UNIQUE (device_id, topic, digest)
);
CREATE INDEX quarantine_requested ON quarantine (quarantine_id) WHERE replay_requested_at IS NOT NULL;

CREATE TABLE alarm (
    alarm_id        text PRIMARY KEY,
    tenant_id       text NOT NULL,
    device_id       text NOT NULL,
    watch           text NOT NULL,
    kind            text NOT NULL,
    metric          text,
    problem         text NOT NULL,
    severity        text NOT NULL,
    state           text NOT NULL CHECK (state IN ('active', 'unknown', 'cleared', 'retracted')),
    acknowledged_at timestamptz,
    acknowledged_by text,
    started_at      timestamptz NOT NULL, -- device time; with device and watch it names the episode
    decided_ts      timestamptz NOT NULL, -- device time of the last decision
    ended_at        timestamptz,
    raised_at       timestamptz NOT NULL, -- the gateway's clock
    updated_at      timestamptz NOT NULL,
    score           double precision NOT NULL,
    explanation     jsonb NOT NULL,
    events          integer NOT NULL,
    CONSTRAINT alarm_episode UNIQUE (device_id, watch, started_at)
);
CREATE INDEX alarm_raised ON alarm (tenant_id, raised_at DESC, alarm_id DESC);
CREATE INDEX alarm_open ON alarm (device_id) WHERE state IN ('active', 'unknown');

CREATE TABLE alarm_event (
    tenant_id   text NOT NULL,
    alarm_id    text NOT NULL REFERENCES alarm,
    n           integer NOT NULL,
    event       text NOT NULL CHECK (event IN ('raised', 'updated', 'unknown', 'cleared', 'retracted')),
    ts          timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    severity    text NOT NULL,
    score       double precision NOT NULL,
    explanation jsonb NOT NULL,
    PRIMARY KEY (alarm_id, n)
);

-- Only what is out of the ordinary: duplicates, filled, conflicts, quarantined, unprofiled metrics.
CREATE TABLE device_counter (
    tenant_id text NOT NULL,
    device_id text NOT NULL,
    name      text NOT NULL,
    value     bigint NOT NULL,
    PRIMARY KEY (device_id, name)
) WITH (fillfactor = 70);

CREATE TABLE pipeline_counter (
    tenant_id text NOT NULL,
    name      text NOT NULL,
    value     bigint NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITH (fillfactor = 50);
