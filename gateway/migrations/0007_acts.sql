-- What writes are answered with, so that one that is asked for twice is done once; and what changed, for who looks on.
-- Instants are real time.

CREATE TABLE answered_write (
    tenant_id  text NOT NULL,
    who        text NOT NULL,
    key        text NOT NULL, -- Idempotency-Key
    digest     bytea NOT NULL, -- of method, path and body
    status     integer,
    headers    jsonb,
    body       bytea,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, who, key)
);
CREATE INDEX answered_write_at ON answered_write (at);

-- A row for each alarm, case, message or incident that a statement changed. Read in the order of commits: a row counts
-- once no transaction older than its own is under way. Kept for a day.
CREATE TABLE change (
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    change_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id  text NOT NULL,
    kind       text NOT NULL,
    subject    text NOT NULL,
    state      text NOT NULL,
    device_id  text,
    case_id    text,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (xid, change_id)
);
CREATE INDEX change_at ON change (at);

CREATE FUNCTION note_alarm_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.change (tenant_id, kind, subject, state, device_id) '
                   'SELECT tenant_id, ''alarm'', alarm_id, state, device_id FROM fresh', TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
CREATE TRIGGER alarm_inserted AFTER INSERT ON alarm
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_alarm_change();
CREATE TRIGGER alarm_updated AFTER UPDATE ON alarm
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_alarm_change();

CREATE FUNCTION note_case_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.change (tenant_id, kind, subject, state, device_id, case_id) '
                   'SELECT tenant_id, ''case'', case_id, state, device_id, case_id FROM fresh', TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
CREATE TRIGGER case_inserted AFTER INSERT ON service_case
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_case_change();
CREATE TRIGGER case_updated AFTER UPDATE ON service_case
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_case_change();

CREATE FUNCTION note_message_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.change (tenant_id, kind, subject, state, case_id) '
                   'SELECT m.tenant_id, ''delivery'', m.message_id, m.state, s.stream_key '
                   'FROM fresh m JOIN %I.outbox_stream s USING (stream_id)', TG_TABLE_SCHEMA, TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
CREATE TRIGGER message_updated AFTER UPDATE ON outbox_message
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_message_change();

CREATE FUNCTION note_incident_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.change (tenant_id, kind, subject, state) '
                   'SELECT tenant_id, ''incident'', incident_id, state FROM fresh', TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
CREATE TRIGGER incident_inserted AFTER INSERT ON incident
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_incident_change();
CREATE TRIGGER incident_updated AFTER UPDATE ON incident
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note_incident_change();

-- What lists by device or owner ask, newest first.
CREATE INDEX alarm_of_device ON alarm (device_id, raised_at DESC, alarm_id DESC);
