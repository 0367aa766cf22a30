-- What the contact policy looks at besides grants and clocks. Instants are the gateway's clock.

-- Switches that people throw while the gateway runs; one that is released stays as history.
CREATE TABLE kill_switch (
    switch_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    scope        text NOT NULL CHECK (scope IN ('tenant', 'watch', 'problem')),
    model        text NOT NULL DEFAULT '*',     -- of the watch or problem; * for every model
    name         text NOT NULL DEFAULT '*',     -- the watch or the problem
    thrown_by    text NOT NULL,
    why          text NOT NULL,
    since        timestamptz NOT NULL,
    released_at  timestamptz,
    released_by  text
);
CREATE UNIQUE INDEX kill_switch_thrown ON kill_switch (tenant_id, scope, model, name) WHERE released_at IS NULL;

-- Owners who are to be left alone, until somebody says otherwise or a time comes.
CREATE TABLE owner_hold (
    hold_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    owner_ref    text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('do_not_contact', 'legal_hold', 'complaint')),
    actor        text NOT NULL,     -- person:<name> or crm:<endpoint>
    why          text NOT NULL,
    since        timestamptz NOT NULL,
    until_at     timestamptz,
    released_at  timestamptz,
    released_by  text
);
CREATE UNIQUE INDEX owner_hold_now ON owner_hold (tenant_id, owner_ref, kind) WHERE released_at IS NULL;

-- Work that is planned: what is seen then may be the work. What is null means any.
CREATE TABLE planned_work (
    work_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    device_id    text,
    model        text,
    region       text,
    problem      text,
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    actor        text NOT NULL,
    why          text NOT NULL,
    cancelled_at timestamptz,
    CHECK (ends_at > starts_at)
);
CREATE INDEX planned_work_ends ON planned_work (tenant_id, ends_at) WHERE cancelled_at IS NULL;

-- Everybody's contacts of an owner: our own that a CRM accepted, and those that CRMs tell of.
CREATE TABLE owner_contact (
    contact_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    text NOT NULL,
    owner_ref    text NOT NULL,
    channel      text,
    contacted_at timestamptz NOT NULL,
    source       text NOT NULL,         -- careloop, or an endpoint
    reference    text NOT NULL,         -- our step, or what the endpoint calls it: the same contact counts once
    by_human     boolean NOT NULL,
    case_id      text,
    asset_id     text,
    model        text,
    problem      text,
    action       text,                  -- of the playbook: its template, else its kind
    UNIQUE (tenant_id, source, reference)
);
CREATE INDEX owner_contact_of_owner ON owner_contact (tenant_id, owner_ref, contacted_at);
CREATE INDEX owner_contact_of_action ON owner_contact (tenant_id, problem, model, action) WHERE source = 'careloop';

-- Tickets that people opened in a CRM without us.
CREATE TABLE human_case (
    tenant_id    text NOT NULL,
    endpoint     text NOT NULL,
    external_id  text NOT NULL,
    owner_ref    text,
    device_id    text,
    opened_at    timestamptz NOT NULL,
    closed_at    timestamptz,
    told_at      timestamptz NOT NULL,  -- the sender's time of the last word on it
    PRIMARY KEY (tenant_id, endpoint, external_id)
);
CREATE INDEX human_case_of_owner ON human_case (tenant_id, owner_ref) WHERE closed_at IS NULL;
CREATE INDEX human_case_of_device ON human_case (tenant_id, device_id) WHERE closed_at IS NULL;

ALTER TABLE held_step DROP CONSTRAINT held_step_state_check;
ALTER TABLE held_step ADD CONSTRAINT held_step_state_check
    CHECK (state IN ('proposed', 'held', 'queued', 'sent', 'withdrawn'));
ALTER TABLE held_step
    ADD COLUMN queued_at    timestamptz,    -- when its message was written
    ADD COLUMN expires_at   timestamptz,    -- of a proposed one: nobody said yes by then
    ADD COLUMN approved_by  text,
    ADD COLUMN approved_at  timestamptz;
CREATE INDEX held_step_proposed ON held_step (expires_at) WHERE state = 'proposed';
CREATE INDEX held_step_of_owner ON held_step (tenant_id, owner_ref);
CREATE INDEX held_step_decided ON held_step (tenant_id, decided_at);
