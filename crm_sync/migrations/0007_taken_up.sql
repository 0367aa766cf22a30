-- Whether any CRM has ever called back is asked for each case that telemetry ends.
CREATE INDEX case_transition_by_crm ON case_transition (tenant_id) WHERE actor LIKE 'crm:%';
