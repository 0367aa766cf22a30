-- Since when an endpoint has refused who careloop is; nothing is given up because of it, and any success ends it.
ALTER TABLE endpoint_state ADD COLUMN not_let_in_since timestamptz;
