-- Who was drawn into which group: what the comparison of the hold-out begins with.
CREATE INDEX decision_draw ON decision (tenant_id, decided_at) WHERE gate = 'hold_out';

-- What became of a product's problem, whether it had a case or not.
CREATE INDEX case_alarm_of_asset ON case_alarm (tenant_id, asset_id, problem, heard_at);
