-- What is left of the requests that an account of a CRM grants to careloop, for all processes that speak to it.
-- Instants are real time.
CREATE TABLE account_budget (
    tenant_id text NOT NULL,
    account text NOT NULL,  -- an address, and where several accounts share it a few digits of what tells them apart
    tokens double precision NOT NULL,  -- at counted_at; below 0: a debt
    counted_at timestamptz NOT NULL,
    rests_until timestamptz,  -- it asked to be left alone
    PRIMARY KEY (tenant_id, account)
);
