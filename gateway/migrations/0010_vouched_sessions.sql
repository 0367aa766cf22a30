-- Until when a sign-in provider has answered for a session; null where a password did.
ALTER TABLE person_session ADD COLUMN vouched_until timestamptz;
