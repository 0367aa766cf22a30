-- Batches that let detectors know beforehand what devices of a model have in common.
ALTER TABLE batch DROP CONSTRAINT batch_kind_check;
ALTER TABLE batch ADD CONSTRAINT batch_kind_check CHECK (kind IN ('ingest', 'timer', 'rejudge', 'forget', 'prior'));

-- What is known beforehand of devices that are new after a batch; those of before keep what they were born with.
CREATE TABLE cohort_prior (
    tenant_id text NOT NULL,
    batch_seq bigint PRIMARY KEY,
    made_at   timestamptz NOT NULL,    -- the gateway's clock
    body      bytea NOT NULL
);
