-- A case's streams, to whatever endpoints: the unique index of streams begins with the endpoint.
CREATE INDEX outbox_stream_of_case ON outbox_stream (tenant_id, stream_key);
