-- What lists by state ask, newest first: none of them reads what it does not show.
CREATE INDEX alarm_by_state ON alarm (tenant_id, state, raised_at DESC, alarm_id DESC);
CREATE INDEX service_case_by_state ON service_case (tenant_id, state, number);
CREATE INDEX audit_of_kind ON audit (tenant_id, what, audit_id);
