-- What was asked of a CRM that refused it: method, path and the beginning of the body, redacted.
ALTER TABLE delivery_attempt ADD COLUMN request text CHECK (octet_length(request) <= 4096);
