-- What the customer said of the fault, in an agent's words: kept with the outcome that it came with.
ALTER TABLE case_verdict ADD COLUMN customer_said text;
CREATE INDEX case_verdict_customer ON case_verdict (tenant_id, verdict_id) WHERE customer_said IS NOT NULL;
