-- Streams in which something is yet to be delivered, the newest first: few, beside those of all cases that ever were.
CREATE INDEX outbox_stream_waiting ON outbox_stream (tenant_id, stream_id) WHERE head_seq < next_seq;
