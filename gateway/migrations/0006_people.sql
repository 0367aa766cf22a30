-- Who may look and who may act. Instants are real time, whatever the gateway's clock.

CREATE TABLE person (
    tenant_id           text NOT NULL,
    person_id           text PRIMARY KEY,
    name                text NOT NULL,
    role                text NOT NULL CHECK (role IN ('viewer', 'agent', 'operator', 'admin')),
    password            text, -- scheme$salt$digest; NULL: signs in elsewhere
    is_one_time         boolean NOT NULL DEFAULT false, -- the password is to be changed before anything else
    password_until      timestamptz, -- a one-time password is good until then
    oidc_issuer         text,
    oidc_subject        text,
    created_at          timestamptz NOT NULL,
    disabled_at         timestamptz,
    CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL))
);
CREATE UNIQUE INDEX person_name ON person (tenant_id, lower(name));
CREATE UNIQUE INDEX person_oidc ON person (tenant_id, oidc_issuer, oidc_subject) WHERE oidc_subject IS NOT NULL;

-- Tokens are kept as their SHA-256: they have 256 random bits.
CREATE TABLE person_session (
    tenant_id    text NOT NULL,
    digest       bytea PRIMARY KEY,
    person_id    text NOT NULL REFERENCES person,
    csrf         text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX person_session_of ON person_session (person_id);
CREATE INDEX person_session_expires ON person_session (expires_at);

CREATE TABLE api_token (
    tenant_id    text NOT NULL,
    token_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    role         text NOT NULL CHECK (role IN ('viewer', 'agent', 'operator', 'admin')),
    digest       bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX api_token_name ON api_token (tenant_id, name) WHERE revoked_at IS NULL;

-- A sign-in that is under way at the OpenID provider.
CREATE TABLE oidc_attempt (
    tenant_id   text NOT NULL,
    digest      bytea PRIMARY KEY, -- of the state, which only this browser knows
    nonce       text NOT NULL,
    verifier    text NOT NULL, -- of PKCE
    return_to   text NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX oidc_attempt_expires ON oidc_attempt (expires_at);

-- Who did what, and who looked at an owner's data. Only ever added.
CREATE TABLE audit (
    tenant_id  text NOT NULL,
    audit_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    who        text NOT NULL, -- person:<name>, token:<name>, or command
    what       text NOT NULL,
    subject    text NOT NULL,
    inputs     jsonb NOT NULL
);
CREATE INDEX audit_newest ON audit (tenant_id, audit_id);
CREATE INDEX audit_of_subject ON audit (tenant_id, subject, audit_id);
CREATE INDEX audit_of_actor ON audit (tenant_id, who, audit_id);
