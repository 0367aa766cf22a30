-- What owners said by the link in their message: each link is answered once. Instants are the gateway's clock.
CREATE TABLE owner_answer (
    tenant_id    text NOT NULL,
    case_id      text NOT NULL REFERENCES service_case (case_id),
    expires_at   timestamptz NOT NULL,  -- the link's: a case has another link after a relapse
    answer       text NOT NULL CHECK (answer IN ('solved', 'not_solved', 'wrong')),
    answered_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, case_id, expires_at)
);
