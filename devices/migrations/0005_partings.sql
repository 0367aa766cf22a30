-- Devices that detectors have to forget, written with the change itself and taken out by the gateway once that is done:
-- what was removed is watched no more, and what has another owner is watched anew.
CREATE TABLE device_parting (
    tenant_id  text NOT NULL REFERENCES tenant,
    parting_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id  text NOT NULL,
    why        text NOT NULL CHECK (why IN ('device_removed', 'owner_changed')),
    asked_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The owner that each device was last known to have, whatever asset it was in.
CREATE TABLE device_owner (
    tenant_id text NOT NULL,
    device_id text PRIMARY KEY REFERENCES device,
    owner_ref text NOT NULL
);
INSERT INTO device_owner (tenant_id, device_id, owner_ref)
SELECT s.tenant_id, a.device_id, s.owner_ref
FROM asset a JOIN ownership s USING (asset_id) WHERE a.device_id IS NOT NULL AND s.until IS NULL;
