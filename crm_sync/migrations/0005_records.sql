-- How CRMs' records stand, as far as careloop has been told or has asked.

ALTER TABLE external_ref
    ADD COLUMN seen_status text,  -- in careloop's words: accepted, in_progress, waiting, resolved, rejected
    ADD COLUMN seen_outcome text;
CREATE INDEX external_ref_external_id ON external_ref (tenant_id, endpoint, external_id);

-- How far each endpoint was asked for changes; real time.
CREATE TABLE record_poll (
    tenant_id text NOT NULL,
    endpoint text NOT NULL,
    asked_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, endpoint)
);
