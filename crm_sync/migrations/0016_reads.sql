-- What pages and reports read of many cases at once, in the order in which they show it: as little of each row as they need.

-- The inbox's order; as in gateway/console/queries.py.
CREATE INDEX service_case_urgent ON service_case
    (tenant_id, (severity = 'critical') DESC, sla_due_at,
     array_position(ARRAY['critical', 'major', 'minor', 'info'], severity), number)
    WHERE state IN ('proposed', 'approved', 'open', 'waiting');
CREATE INDEX service_case_team ON service_case (tenant_id, team)
    WHERE state IN ('proposed', 'approved', 'open', 'waiting');

-- The journey of the cases of a period.
CREATE INDEX service_case_opened ON service_case (tenant_id, opened_at);
CREATE INDEX case_alarm_way ON case_alarm (case_id) INCLUDE (started_at, heard_at, decided_ts, state);
DROP INDEX case_alarm_of_case;
CREATE INDEX case_transition_way ON case_transition (case_id, transition_id) INCLUDE (at, actor, reason);
DROP INDEX case_transition_of_case;
CREATE INDEX decision_of_step ON decision (case_id, decision_id) INCLUDE (gate, outcome, reason, decided_at)
    WHERE subject = 'step';
CREATE INDEX case_alarm_heard ON case_alarm (tenant_id, heard_at) INCLUDE (case_id, suppressed);

-- An owner's timeline.
CREATE INDEX case_alarm_of_owner ON case_alarm (tenant_id, owner_ref, heard_at DESC, alarm_id DESC);

-- A watch's precision.
CREATE INDEX watch_episode_said ON watch_episode (tenant_id, model, watch, verdict_at) INCLUDE (verdict, weight)
    WHERE verdict IS NOT NULL;
DROP INDEX watch_episode_judged;
