-- By which transaction a device, or what it signs in with, was changed last: a running gateway asks for what is new to
-- it, and not for a million devices because one of them was added.

ALTER TABLE device ADD COLUMN changed_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX device_changed_by ON device (changed_by);

CREATE FUNCTION registry_mark_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_by := pg_current_xact_id();
    RETURN NEW;
END $$;

CREATE TRIGGER registry_device_marked BEFORE UPDATE ON device
    FOR EACH ROW EXECUTE FUNCTION registry_mark_device();

CREATE FUNCTION registry_mark_devices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE device SET changed_by = pg_current_xact_id()
    WHERE device_id IN (SELECT device_id FROM changed) AND changed_by <> pg_current_xact_id();
    RETURN NULL;
END $$;

CREATE TRIGGER registry_credential_added_to AFTER INSERT ON device_credential
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_mark_devices();
CREATE TRIGGER registry_credential_changed_of AFTER UPDATE ON device_credential
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_mark_devices();
