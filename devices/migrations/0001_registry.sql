-- The registry: which devices there are, what they sign in with, whose they are, and what their owners allow.
-- No names, addresses or contact data: owners are references into the CRM.

CREATE TABLE tenant (
    tenant_id  text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO tenant (tenant_id, name) VALUES ('default', 'Default');

CREATE TABLE device (
    tenant_id     text NOT NULL REFERENCES tenant,
    device_id     text PRIMARY KEY CHECK (device_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    partition     smallint NOT NULL CHECK (partition BETWEEN 0 AND 63), -- crc32 of the id, modulo 64
    model         text, -- of a profile; NULL: the automatic profile
    region        text,
    source        text NOT NULL CHECK (source IN ('import', 'add', 'auto')),
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at    timestamptz -- removed: it may neither sign in nor be heard
);

-- What a device signs in with. Revoked ones are kept, so that an old file cannot bring them back.
CREATE TABLE device_credential (
    tenant_id     text NOT NULL REFERENCES tenant,
    credential_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     text NOT NULL REFERENCES device,
    scheme        text NOT NULL CHECK (scheme IN ('sha256', 'scrypt')),
    salt          bytea NOT NULL,
    digest        bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at    timestamptz
);
CREATE INDEX device_credential_of ON device_credential (device_id);

CREATE TABLE firmware_history (
    tenant_id   text NOT NULL REFERENCES tenant,
    device_id   text NOT NULL,
    firmware    text NOT NULL,
    since       timestamptz NOT NULL, -- device time
    received_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, since, firmware)
);

-- The product that somebody bought. Its device may change: a module is exchanged, the washing machine stays.
CREATE TABLE asset (
    tenant_id       text NOT NULL REFERENCES tenant,
    asset_id        text PRIMARY KEY,
    device_id       text UNIQUE REFERENCES device,
    model           text,
    serial          text,
    purchased_on    date,
    warranty_until  date,
    lifecycle_stage text,
    region          text
);

CREATE TABLE owner (
    tenant_id   text NOT NULL REFERENCES tenant,
    owner_ref   text NOT NULL, -- who it is, the CRM knows
    account_ref text,
    time_zone   text, -- IANA name, for quiet hours
    language    text, -- BCP 47 tag
    PRIMARY KEY (tenant_id, owner_ref)
);

CREATE TABLE ownership (
    tenant_id text NOT NULL,
    asset_id  text NOT NULL REFERENCES asset,
    owner_ref text NOT NULL,
    since     timestamptz NOT NULL,
    until     timestamptz,
    FOREIGN KEY (tenant_id, owner_ref) REFERENCES owner
);
CREATE UNIQUE INDEX ownership_now ON ownership (asset_id) WHERE until IS NULL;
CREATE INDEX ownership_history ON ownership (asset_id, since);
CREATE INDEX ownership_of_owner ON ownership (tenant_id, owner_ref);

-- What a person allows, per purpose and recipient; records are only ever added, and the last one counts.
CREATE TABLE grant_record (
    tenant_id   text NOT NULL,
    grant_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_ref   text NOT NULL,
    purpose     text NOT NULL, -- service, improvement, marketing, share:<partner>
    recipient   text NOT NULL, -- crm, an endpoint's name, or a channel: email, sms, push, phone
    state       text NOT NULL CHECK (state IN ('given', 'refused', 'revoked')),
    basis       text, -- lawful basis, such as consent or contract
    source      text, -- where the person said so
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    valid_from  timestamptz NOT NULL DEFAULT 'epoch',
    valid_until timestamptz,
    FOREIGN KEY (tenant_id, owner_ref) REFERENCES owner
);
CREATE INDEX grant_record_latest ON grant_record (tenant_id, owner_ref, purpose, recipient, grant_id DESC);

-- A running gateway listens on careloop_registry: the id of the one device that changed, or * for many.
CREATE FUNCTION registry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_id text;
    last_id  text;
BEGIN
    SELECT min(device_id), max(device_id) INTO first_id, last_id FROM changed;
    IF first_id IS NOT NULL THEN
        PERFORM pg_notify('careloop_registry', CASE WHEN first_id = last_id THEN first_id ELSE '*' END);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER registry_device_added AFTER INSERT ON device
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER registry_device_changed AFTER UPDATE ON device
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER registry_credential_added AFTER INSERT ON device_credential
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER registry_credential_changed AFTER UPDATE ON device_credential
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
