-- Cases: what an alarm becomes on its way to a person. Instants are the gateway's clock unless named *_ts or started_at,
-- which are device time.

-- Alarm notices, written by the ingest transaction and worked in order.
CREATE TABLE inbox (
    inbox_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     text NOT NULL,
    device_id     text NOT NULL,
    alarm_id      text NOT NULL,
    event         text NOT NULL,
    notice        jsonb NOT NULL,
    recorded_at   timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'parked')),
    error         text,
    processed_at  timestamptz
);
-- The same notice twice is one notice.
CREATE UNIQUE INDEX inbox_once ON inbox (alarm_id, event, md5(notice::text));
CREATE INDEX inbox_waiting ON inbox (inbox_id) WHERE state = 'pending';
CREATE INDEX inbox_finished ON inbox (processed_at) WHERE state = 'done';

CREATE TABLE service_case (
    case_id      text PRIMARY KEY,
    tenant_id    text NOT NULL,
    asset_id     text NOT NULL,
    device_id    text NOT NULL,
    problem      text NOT NULL,
    state        text NOT NULL
                 CHECK (state IN ('proposed', 'approved', 'open', 'waiting', 'resolved', 'retracted', 'expired')),
    severity     text NOT NULL CHECK (severity IN ('info', 'minor', 'major', 'critical')),
    title        text NOT NULL,
    brief        text NOT NULL,     -- what an agent is told while the case is live
    ending       text,              -- what an agent is told at its end
    team         text NOT NULL,
    owner_ref    text,      -- whose product it was when the case opened
    account_ref  text,
    opened_at    timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    closed_at    timestamptz,
    sla_due_at   timestamptz,
    resolution   text,      -- recovered_in_telemetry, resolved_by_agent, rejected_by_agent, alarm_retracted, or a suppression
    outcome      text CHECK (outcome IN ('true', 'false', 'unclear')),  -- an agent's word on whether the fault was real
    version      integer NOT NULL DEFAULT 0,    -- one more with every message
    relapses     integer NOT NULL DEFAULT 0,    -- how often it was opened again
    relapse_of   text REFERENCES service_case (case_id),
    number       bigint GENERATED ALWAYS AS IDENTITY    -- the order of opening, on a clock that stands still too
);
-- One fault, one case: however many messages, workers, restarts or retries.
CREATE UNIQUE INDEX service_case_one_open ON service_case (tenant_id, asset_id, problem)
    WHERE state IN ('proposed', 'approved', 'open', 'waiting');
CREATE INDEX service_case_of_asset ON service_case (tenant_id, asset_id, problem, number);
CREATE INDEX service_case_number ON service_case (tenant_id, number);
CREATE INDEX service_case_of_device ON service_case (device_id);
CREATE INDEX service_case_of_owner ON service_case (tenant_id, owner_ref);

-- Every alarm heard of, and the case that took it in, if any did.
CREATE TABLE case_alarm (
    alarm_id     text PRIMARY KEY,
    tenant_id    text NOT NULL,
    case_id      text REFERENCES service_case (case_id),
    asset_id     text NOT NULL,
    device_id    text NOT NULL,
    owner_ref    text,
    problem      text NOT NULL,
    watch        text NOT NULL,
    kind         text NOT NULL,
    metric       text,
    severity     text NOT NULL CHECK (severity IN ('info', 'minor', 'major', 'critical')),
    state        text NOT NULL CHECK (state IN ('active', 'unknown', 'cleared', 'retracted')),
    suppressed   text,      -- why no case took it in
    started_at   timestamptz NOT NULL,
    decided_ts   timestamptz NOT NULL,
    explanation  jsonb NOT NULL,
    heard_at     timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE INDEX case_alarm_of_case ON case_alarm (case_id);
CREATE INDEX case_alarm_suppressed ON case_alarm (tenant_id, suppressed) WHERE case_id IS NULL;
CREATE INDEX case_alarm_active ON case_alarm (heard_at) WHERE state = 'active';

-- Who or what moved a case, when and why. A row that stays in its state is an observation.
CREATE TABLE case_transition (
    transition_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      text NOT NULL,
    case_id        text NOT NULL REFERENCES service_case (case_id),
    from_state     text,
    to_state       text NOT NULL,
    actor          text NOT NULL,   -- telemetry, policy, or crm:<endpoint>
    reason         text NOT NULL,
    note           text NOT NULL DEFAULT '',
    at             timestamptz NOT NULL
);
CREATE INDEX case_transition_of_case ON case_transition (case_id, transition_id);

-- What each gate answered, and from which inputs.
CREATE TABLE decision (
    decision_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    case_id      text,
    alarm_id     text,
    asset_id     text NOT NULL,
    device_id    text NOT NULL,
    owner_ref    text,
    subject      text NOT NULL CHECK (subject IN ('case', 'step', 'message')),
    recipient    text NOT NULL,     -- an endpoint, or the channel of a step
    gate         text NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('allow', 'hold', 'refuse')),
    reason       text,
    inputs       jsonb NOT NULL,
    until_at     timestamptz,
    decided_at   timestamptz NOT NULL,
    CHECK ((outcome = 'allow') = (reason IS NULL))
);
CREATE INDEX decision_of_case ON decision (case_id, decision_id);
CREATE INDEX decision_of_alarm ON decision (alarm_id, decision_id);
CREATE INDEX decision_of_owner ON decision (tenant_id, owner_ref, decision_id);

-- Which endpoints are to hear of a case, and whether they may know of it already.
CREATE TABLE case_endpoint (
    case_id           text NOT NULL REFERENCES service_case (case_id),
    endpoint          text NOT NULL,
    tenant_id         text NOT NULL,
    types             text[] NOT NULL,  -- the message types that it takes
    state             text NOT NULL CHECK (state IN ('pending', 'announced', 'withdrawn', 'taken_back')),
    external_version  bigint,           -- the newest version that it called back with
    PRIMARY KEY (case_id, endpoint)
);

-- Steps that the owner sees, waiting for their hour.
CREATE TABLE held_step (
    step_id     text PRIMARY KEY,
    tenant_id   text NOT NULL,
    case_id     text NOT NULL REFERENCES service_case (case_id),
    endpoint    text NOT NULL,
    owner_ref   text NOT NULL,
    kind        text NOT NULL,
    channel     text NOT NULL,
    template    text,
    text        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('held', 'queued', 'sent', 'withdrawn')),
    reason      text,
    due_at      timestamptz NOT NULL,
    decided_at  timestamptz NOT NULL,
    message_id  text UNIQUE,  -- that carries it
    settled_at  timestamptz
);
CREATE INDEX held_step_due ON held_step (due_at) WHERE state = 'held';
CREATE INDEX held_step_of_case ON held_step (case_id);
