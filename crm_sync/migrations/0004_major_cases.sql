-- Incidents of many devices: one major case each. Instants are the gateway's clock.

ALTER TABLE service_case ADD COLUMN parent_id text REFERENCES service_case (case_id);
CREATE INDEX service_case_children ON service_case (parent_id, number) WHERE parent_id IS NOT NULL;

-- The cohort that a major case speaks for; what is None of it means any.
CREATE TABLE major_case (
    case_id       text PRIMARY KEY REFERENCES service_case (case_id),
    tenant_id     text NOT NULL,
    incident_id   text NOT NULL UNIQUE,
    kind          text NOT NULL,
    model         text,
    firmware      text,
    region        text,
    problems      text[] NOT NULL,
    devices       integer NOT NULL,     -- affected so far, as far as anybody knows
    counted       integer NOT NULL DEFAULT 0, -- of those, how many have become members here
    told_devices  integer NOT NULL,     -- when CRMs last heard of their number
    is_over       boolean NOT NULL DEFAULT false
);

ALTER TABLE case_alarm ADD COLUMN incident_id text; -- the incident that it is part of, with or without a case
CREATE INDEX case_alarm_left_over ON case_alarm (heard_at, alarm_id) WHERE suppressed = 'left_over';
CREATE INDEX case_alarm_of_incident ON case_alarm (incident_id, device_id) WHERE incident_id IS NOT NULL;

-- Alarms whose case waits until it is known whether they are some of many; `notice` is what is looked at then.
CREATE TABLE held_alarm (
    alarm_id   text PRIMARY KEY,
    tenant_id  text NOT NULL,
    notice     jsonb NOT NULL,
    until_at   timestamptz NOT NULL
);
CREATE INDEX held_alarm_due ON held_alarm (until_at);
