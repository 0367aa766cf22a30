-- Messages that never came, clocks that are off, and alarms that late readings correct.

ALTER TABLE batch DROP CONSTRAINT batch_kind_check;
ALTER TABLE batch ADD CONSTRAINT batch_kind_check CHECK (kind IN ('ingest', 'timer', 'rejudge'));

-- What is known of all devices' numbers and clocks, written together with the detectors' state.
CREATE TABLE order_checkpoint (
    tenant_id  text NOT NULL,
    partition  smallint PRIMARY KEY,
    version    integer NOT NULL,
    state      bytea NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Numbers and times of messages of a batch that reached us without being stored for themselves; pruned like batches.
CREATE TABLE order_aside (
    tenant_id text NOT NULL,
    batch_seq bigint PRIMARY KEY,
    told      bytea NOT NULL
);

-- What is shown of a device: written when it changes.
CREATE TABLE device_order (
    tenant_id     text NOT NULL,
    device_id     text PRIMARY KEY,
    missing       bigint NOT NULL, -- messages that never reached us
    restarts      bigint NOT NULL, -- how often its counter started over
    is_numbered   boolean NOT NULL,
    clock         text NOT NULL CHECK (clock IN ('unknown', 'none', 'right', 'ahead', 'behind')),
    offset_s      double precision, -- of its clock, positive is ahead
    is_sure       boolean NOT NULL,
    looks         integer NOT NULL,
    moved_at      timestamptz, -- when its clock was last set, by ours
    moved_by_s    double precision,
    says          text NOT NULL, -- all of it in words
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);

-- Devices whose late readings have yet to be judged in their place.
CREATE TABLE rejudge_queue (
    tenant_id text NOT NULL,
    device_id text PRIMARY KEY,
    first_ts  timestamptz NOT NULL, -- device time of the oldest of them
    behind_s  double precision NOT NULL, -- how late the latest of them was
    batch_seq bigint NOT NULL, -- the last batch that brought one
    is_urgent boolean NOT NULL, -- an alarm may be touched
    due_at    timestamptz NOT NULL -- the gateway's clock
);
CREATE INDEX rejudge_queue_due ON rejudge_queue (due_at, device_id) WHERE NOT is_urgent;
CREATE INDEX rejudge_queue_urgent ON rejudge_queue (due_at, device_id) WHERE is_urgent;

-- When a device was last judged anew, so that it is not done again and again.
CREATE TABLE rejudge_done (
    tenant_id text NOT NULL,
    device_id text PRIMARY KEY,
    done_at   timestamptz NOT NULL, -- the gateway's clock
    batch_seq bigint NOT NULL, -- late readings up to this batch are in it
    outcome   text NOT NULL CHECK (outcome IN ('same', 'corrected', 'unsure')),
    total     bigint NOT NULL -- how often so far
);

-- The detectors' state of a device that was judged anew, as of the batch of that number; pruned like batches.
CREATE TABLE rejudged_state (
    tenant_id text NOT NULL,
    batch_seq bigint NOT NULL,
    device_id text NOT NULL,
    state     bytea NOT NULL,
    PRIMARY KEY (batch_seq, device_id)
);

-- Alarms whose beginning was corrected: by what beginning the detectors know them now, and as which alarm they go on.
CREATE TABLE alarm_name (
    tenant_id  text NOT NULL,
    device_id  text NOT NULL,
    watch      text NOT NULL,
    started_at timestamptz NOT NULL,
    alarm_id   text NOT NULL REFERENCES alarm,
    PRIMARY KEY (device_id, watch, started_at)
);
