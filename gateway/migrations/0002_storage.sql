-- Usage rollups, what retention goes by, and what quarantine is searched by.

-- How far a model's rollups have come. The tables themselves are made per model by gateway/maintenance.
CREATE TABLE rollup (
    tenant_id  text NOT NULL DEFAULT 'default',
    model      text PRIMARY KEY REFERENCES reading_table,
    hour_table text NOT NULL UNIQUE,
    day_table  text NOT NULL UNIQUE,
    columns    jsonb NOT NULL, -- [[metric, column], ...] of the reading table that are rolled up
    batch_seq  bigint NOT NULL DEFAULT 0, -- every batch up to this one is in it
    is_kept    boolean NOT NULL DEFAULT true, -- false: turned off; it starts anew when turned on
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which batch was the last at a moment of the gateway's clock: retention goes by when something was stored.
CREATE TABLE storage_mark (
    tenant_id text NOT NULL,
    at        timestamptz PRIMARY KEY,
    batch_seq bigint NOT NULL
);

-- What a counter rose by over values in order of time. After a fall to less than half it was reset and has risen from
-- zero; a smaller fall is jitter, and counts for nothing.
CREATE FUNCTION careloop_rise(readings double precision[]) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    total  double precision := 0;
    before double precision := readings[1];
    value  double precision;
BEGIN
    FOREACH value IN ARRAY readings LOOP
        IF value >= before THEN
            total := total + (value - before);
        ELSIF value < 0.5 * before THEN
            total := total + value;
        END IF;
        before := value;
    END LOOP;
    RETURN total;
END $$;

-- What a counter rose by between spans of time: from each one's last value to the first of the next.
CREATE FUNCTION careloop_steps(firsts double precision[], lasts double precision[]) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    total double precision := 0;
BEGIN
    FOR i IN 2 .. cardinality(firsts) LOOP
        total := total + careloop_rise(ARRAY[lasts[i - 1], firsts[i]]);
    END LOOP;
    RETURN total;
END $$;

CREATE INDEX quarantine_of_device ON quarantine (device_id, quarantine_id);
CREATE INDEX quarantine_received ON quarantine (last_received_at);
CREATE INDEX quarantine_open ON quarantine (quarantine_id) WHERE outcome IS NULL OR outcome = 'quarantined';

-- That what a removed device had said was erased.
CREATE TABLE erased_device (
    tenant_id text NOT NULL,
    device_id text PRIMARY KEY,
    erased_at timestamptz NOT NULL,
    readings  bigint NOT NULL
);
