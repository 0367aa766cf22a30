-- Messages that stop their worker, or that the contact policy stumbles over, are given up after a while. Real time.
ALTER TABLE outbox_stream ADD COLUMN lost_leases int NOT NULL DEFAULT 0;  -- in a row, while its head was being sent
ALTER TABLE outbox_stream ADD COLUMN stumbling_since timestamptz;         -- the policy has failed over its head since
