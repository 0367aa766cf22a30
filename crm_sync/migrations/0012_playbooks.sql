-- What was considered about a case and what was done, silent fixes by device command, and how often each action helped.
-- Instants are the gateway's clock.

-- Every action that was considered, chosen or not; doing nothing is one of them. A case is decided about anew when a
-- silent fix has failed, and when it is opened again: each time is a round.
CREATE TABLE case_action (
    tenant_id   text NOT NULL,
    case_id     text NOT NULL REFERENCES service_case (case_id),
    round       integer NOT NULL,
    place       integer NOT NULL,   -- the best first
    position    integer,            -- in the playbook; null for doing nothing
    action      text NOT NULL,      -- kind:what, as it is counted
    kind        text NOT NULL,
    verdict     text NOT NULL CHECK (verdict IN ('chosen', 'rejected', 'waits')),
    reason      text NOT NULL,
    inputs      jsonb NOT NULL,     -- no personal data
    team        text,
    channel     text,
    template    text,
    severity    text NOT NULL,      -- from which on it is taken
    sla_h       double precision,
    model       text NOT NULL,      -- of the product, for counting; automatic where there is no profile
    problem     text NOT NULL,
    decided_at  timestamptz NOT NULL,
    result      text CHECK (result IN ('worked', 'failed')),
    result_why  text,
    settled_at  timestamptz,
    PRIMARY KEY (case_id, round, place)
);
CREATE INDEX case_action_chosen ON case_action (case_id) WHERE verdict = 'chosen';

-- One silent fix at a time for a case.
CREATE TABLE silent_fix (
    command_id      text PRIMARY KEY,   -- of device_command
    tenant_id       text NOT NULL,
    case_id         text NOT NULL REFERENCES service_case (case_id),
    asset_id        text NOT NULL,
    problem         text NOT NULL,
    round           integer NOT NULL,
    action          text NOT NULL,
    command         text NOT NULL,
    state           text NOT NULL DEFAULT 'ordered' CHECK (state IN ('ordered', 'verifying', 'worked', 'failed', 'dropped')),
    reason          text,
    holds_case      boolean NOT NULL,   -- nobody is told of the case before it is known whether this helped
    verify_within_s double precision NOT NULL,
    ordered_at      timestamptz NOT NULL,
    verify_until    timestamptz,
    settled_at      timestamptz
);
CREATE UNIQUE INDEX silent_fix_one_open ON silent_fix (case_id) WHERE state IN ('ordered', 'verifying');
CREATE INDEX silent_fix_open ON silent_fix (ordered_at) WHERE state IN ('ordered', 'verifying');
CREATE INDEX silent_fix_of_asset ON silent_fix (tenant_id, asset_id, problem, ordered_at);
CREATE INDEX silent_fix_lately ON silent_fix (tenant_id, ordered_at);

-- How often an action helped against a problem on a product model.
CREATE TABLE action_tally (
    tenant_id  text NOT NULL,
    model      text NOT NULL,
    problem    text NOT NULL,
    action     text NOT NULL,
    worked     integer NOT NULL DEFAULT 0,
    failed     integer NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, model, problem, action)
);
