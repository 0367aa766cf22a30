-- How far each watch is trusted on each product model, what that rests on, and the budget of false cases.
-- A model is a profile's, or 'automatic'. Instants are the gateway's clock unless they are named started_at.

CREATE TABLE watch_trust (
    tenant_id    text NOT NULL,
    model        text NOT NULL,
    watch        text NOT NULL,
    mode         text NOT NULL CHECK (mode IN ('shadow', 'approve', 'auto')),
    mode_since   timestamptz NOT NULL,
    held         boolean NOT NULL DEFAULT false,   -- a person set the mode, and no rule may change it
    bar          double precision NOT NULL DEFAULT 0,  -- belief that its alarms need beyond the least, at bar_at
    bar_at       timestamptz NOT NULL,
    device_days  double precision NOT NULL DEFAULT 0,  -- that it has watched, old ones counting less, at counted_at
    devices      integer NOT NULL DEFAULT 0,
    counted_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, model, watch)
);

-- Who or what set a watch's mode, when and why.
CREATE TABLE watch_audit (
    audit_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  text NOT NULL,
    model      text NOT NULL,
    watch      text NOT NULL,
    from_mode  text,
    to_mode    text NOT NULL,
    held       boolean NOT NULL,
    actor      text NOT NULL,   -- profile, rule, or person:<name>
    why        text NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX watch_audit_of ON watch_audit (tenant_id, model, watch, audit_id);

-- The score history: episodes by how strong and how lasting they were (log scales), and by what is known of them.
CREATE TABLE watch_cell (
    tenant_id   text NOT NULL,
    model       text NOT NULL,
    watch       text NOT NULL,
    strength    smallint NOT NULL,
    lasting     smallint NOT NULL,
    standing    double precision NOT NULL,  -- weights at as_of: of unknown outcome,
    were_true   double precision NOT NULL,
    were_false  double precision NOT NULL,
    as_of       timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, model, watch, strength, lasting)
);

-- Each alarm's place in that history, and what became of it.
CREATE TABLE watch_episode (
    alarm_id    text PRIMARY KEY,
    tenant_id   text NOT NULL,
    model       text NOT NULL,
    watch       text NOT NULL,
    score       double precision NOT NULL,  -- the highest so far
    strength    smallint NOT NULL,
    lasting     smallint NOT NULL,
    placed_at   timestamptz NOT NULL,
    verdict     text CHECK (verdict IN ('true', 'false')),
    weight      double precision,
    source      text,
    verdict_at  timestamptz,
    case_id     text,               -- that was opened for it
    cost        double precision    -- false cases that this case is booked with
);
CREATE INDEX watch_episode_judged ON watch_episode (tenant_id, model, watch, verdict_at) WHERE verdict IS NOT NULL;
CREATE INDEX watch_episode_of_case ON watch_episode (case_id) WHERE case_id IS NOT NULL;

-- What was said of a case, or of one alarm: only ever added, settled in order.
CREATE TABLE case_verdict (
    verdict_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   text NOT NULL,
    case_id     text,
    alarm_id    text,
    verdict     text NOT NULL CHECK (verdict IN ('true', 'false', 'unclear')),
    weight      double precision NOT NULL CHECK (weight > 0 AND weight <= 1),
    source      text NOT NULL,      -- person, agent, retraction, telemetry
    actor       text NOT NULL,
    said_at     timestamptz NOT NULL,
    settled_at  timestamptz,
    CHECK ((case_id IS NULL) <> (alarm_id IS NULL))
);
CREATE INDEX case_verdict_waiting ON case_verdict (verdict_id) WHERE settled_at IS NULL;
CREATE INDEX case_verdict_of_case ON case_verdict (case_id) WHERE case_id IS NOT NULL;

CREATE TABLE trust_budget (
    tenant_id  text PRIMARY KEY,
    allowance  double precision NOT NULL,
    wealth     double precision NOT NULL,
    day        integer NOT NULL,    -- days since 1970, UTC
    opened     integer NOT NULL,    -- cases of that day
    devices    integer NOT NULL,
    as_of      timestamptz NOT NULL,
    counted_at timestamptz
);

CREATE INDEX service_case_undecided ON service_case (state, updated_at) WHERE state IN ('proposed', 'approved');
CREATE INDEX case_alarm_waiting ON case_alarm (heard_at) WHERE suppressed = 'budget' AND state = 'active';
