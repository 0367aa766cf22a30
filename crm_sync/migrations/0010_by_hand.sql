-- What people do to alarms and cases. Instants are the gateway's clock.

ALTER TABLE service_case ADD COLUMN assignee text; -- who looks after it, where somebody was named

-- Alarms that are to open no case for a while. What is null means any.
CREATE TABLE quiet_alarm (
    quiet_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('snooze', 'silence', 'maintenance')),
    alarm_id    text,   -- of a snooze, which is about one alarm
    device_id   text,
    model       text,
    region      text,
    watch       text,
    problem     text,
    starts_at   timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL,
    actor       text NOT NULL,
    why         text NOT NULL,
    created_at  timestamptz NOT NULL,
    ended_at    timestamptz, -- before its time
    ended_by    text,
    work_id     bigint REFERENCES planned_work, -- of a maintenance window: owners are left alone too
    CHECK (ends_at > starts_at),
    CHECK ((kind = 'snooze') = (alarm_id IS NOT NULL))
);
CREATE INDEX quiet_alarm_now ON quiet_alarm (tenant_id, ends_at) WHERE ended_at IS NULL;
CREATE INDEX quiet_alarm_of_alarm ON quiet_alarm (alarm_id, quiet_id) WHERE alarm_id IS NOT NULL;
CREATE INDEX quiet_alarm_newest ON quiet_alarm (tenant_id, quiet_id);
