-- What goes wrong with many devices at once. Instants are the gateway's clock.

-- What the fleet layer knows, as text under a version: a row per product model, and one for dips.
CREATE TABLE cohort_state (
    tenant_id  text NOT NULL,
    name       text NOT NULL,
    version    integer NOT NULL,
    state      text NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- Which devices have had which problem since a firmware is being compared: each counts once on either side.
CREATE TABLE cohort_affected (
    tenant_id  text NOT NULL,
    model      text NOT NULL,
    firmware   text NOT NULL, -- that is compared with the others
    device_id  text NOT NULL,
    problem    text NOT NULL,
    is_new     boolean NOT NULL, -- the device ran it
    PRIMARY KEY (tenant_id, model, firmware, device_id, problem, is_new)
);

-- When a device last fell silent or out of use: it counts once a day.
CREATE TABLE dip_sign (
    tenant_id  text NOT NULL,
    device_id  text NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, device_id)
);
CREATE INDEX dip_sign_at ON dip_sign (at);

CREATE TABLE incident (
    incident_id  text PRIMARY KEY,
    tenant_id    text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('bad_firmware', 'fleet_dip')),
    model        text, -- NULL in a part of the cohort means any
    firmware     text,
    region       text,
    problems     text[] NOT NULL,
    severity     text NOT NULL,
    title        text NOT NULL,
    says         text NOT NULL,
    evidence     jsonb NOT NULL, -- the numbers behind each problem
    state        text NOT NULL CHECK (state IN ('open', 'ended')),
    ending       text,
    started_at   timestamptz NOT NULL,
    known_at     timestamptz NOT NULL,
    ended_at     timestamptz,
    updated_at   timestamptz NOT NULL,
    number       bigint GENERATED ALWAYS AS IDENTITY -- the order in which lists show them
);
CREATE UNIQUE INDEX incident_one_open ON incident (tenant_id, kind, model, firmware, region) NULLS NOT DISTINCT
    WHERE state = 'open';
CREATE INDEX incident_number ON incident (tenant_id, number);

-- The alarms that are part of an incident.
CREATE TABLE incident_member (
    tenant_id    text NOT NULL,
    incident_id  text NOT NULL REFERENCES incident,
    alarm_id     text NOT NULL REFERENCES alarm,
    device_id    text NOT NULL,
    joined_at    timestamptz NOT NULL,
    PRIMARY KEY (incident_id, alarm_id)
);
CREATE INDEX incident_member_alarm ON incident_member (alarm_id);
