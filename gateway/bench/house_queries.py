"""SQL that fills a house beside its readings: owners, alarms, cases with all that explains them, messages, quarantine.

What it writes looks like what the gateway would have written over 90 days; nothing of it is drawn at random, so that
two runs ask about the same. `bench_device` numbers the devices, `bench_case` and `bench_alarm` what befell them.
"""

from collections.abc import Sequence
from typing import Final, LiteralString

NUMBER_DEVICES: Final[LiteralString] = """
CREATE TABLE bench_device AS
SELECT device_id, (n - 1)::integer AS n, 'owner-' || ((n - 1) * 4 / 5) AS owner_ref
FROM unnest(%(device_ids)s::text[]) WITH ORDINALITY AS fleet (device_id, n)
"""

# Live cases are the newest; an asset has one of a problem at most, for there are no more of them than devices.
MAKE_CASES: Final[LiteralString] = """
CREATE TABLE bench_case AS
SELECT numbered.n, 'cse_' || md5('case ' || numbered.n) AS case_id, d.device_id, d.owner_ref, is_live, k.*,
       CASE WHEN NOT is_live THEN (ARRAY['resolved', 'resolved', 'retracted', 'expired'])[1 + numbered.n %% 4]
            ELSE (ARRAY['proposed', 'open', 'open', 'approved', 'waiting', 'open'])[1 + numbered.n %% 6] END AS state,
       opened_at, CASE WHEN NOT is_live THEN opened_at + interval '30 hours' END AS closed_at
FROM (SELECT n, n >= %(ended)s AS is_live,
             CASE WHEN n >= %(ended)s
                  THEN %(now)s::timestamptz - (%(ended)s + %(live)s - n) * interval '20 days' / %(live)s
                  ELSE %(now)s::timestamptz - interval '22 days' - (%(ended)s - n) * interval '65 days' / %(ended)s
             END AS opened_at
      FROM generate_series(0, %(ended)s + %(live)s - 1) AS n) AS numbered
JOIN bench_device d ON d.n = CASE WHEN is_live THEN numbered.n - %(ended)s ELSE numbered.n * 7 %% %(devices)s END
CROSS JOIN LATERAL (SELECT
    (ARRAY['battery-too-hot', 'cells-apart', 'rides-heavily', 'rides-less', 'silent'])[1 + numbered.n %% 5] AS watch,
    (ARRAY['threshold', 'threshold', 'record', 'usage_drop', 'silence'])[1 + numbered.n %% 5] AS kind,
    (ARRAY['battery_temperature', 'cell_imbalance', 'consumption', 'distance', NULL])[1 + numbered.n %% 5] AS metric,
    (ARRAY['battery-safety', 'battery', 'drive', 'riding', 'connection'])[1 + numbered.n %% 5] AS problem,
    (ARRAY['critical', 'major', 'minor', 'minor', 'major'])[1 + numbered.n %% 5] AS severity) AS k
"""

# One for each case, a second one for each other case, and as many as four a device that no case took in.
MAKE_ALARMS: Final[LiteralString] = """
CREATE TABLE bench_alarm AS
SELECT 'alm_' || md5(told.nth || ' ' || told.number) AS alarm_id, told.*,
       jsonb_build_object('text', 'Above what is usual for hours', 'expected', 'at most 60', 'observed', '64.1',
                          'window_s', 86400, 'detector', 'threshold', 'version', 1, 'score', 0.93, 'evidence',
                          (SELECT jsonb_agg(jsonb_build_array(extract(epoch FROM started_at)::bigint + 900 * k, 58 + k))
                           FROM generate_series(0, 15) AS k)) AS explanation
FROM (SELECT nth, n AS number, case_id, device_id, owner_ref, watch, kind, metric, problem, severity,
             CASE WHEN is_live THEN (ARRAY['active', 'active', 'unknown', 'cleared'])[1 + n %% 4]
                  WHEN state = 'retracted' THEN 'retracted' ELSE 'cleared' END AS state, NULL::text AS suppressed,
             opened_at - interval '1 hour' - (nth + 1) * interval '7 hours' AS started_at, opened_at AS raised_at
      FROM bench_case CROSS JOIN generate_series(0, 1) AS nth WHERE nth = 0 OR n %% 2 = 0
      UNION ALL
      SELECT 2 + nth, d.n, NULL, device_id, owner_ref,
             'motor-too-hot', 'threshold', 'motor_temperature', 'motor', 'info',
             CASE WHEN nth = 0 AND d.n %% 10 = 0 THEN 'active' ELSE 'cleared' END, 'shadow',
             %(now)s::timestamptz - (d.n * 4 + nth) * interval '80 days' / (4 * %(devices)s) - interval '2 hours',
             %(now)s::timestamptz - (d.n * 4 + nth) * interval '80 days' / (4 * %(devices)s)
      FROM bench_device d CROSS JOIN generate_series(0, 3) AS nth) AS told
"""

_OWNERS: Final[Sequence[LiteralString]] = (
    """INSERT INTO owner (tenant_id, owner_ref, account_ref, time_zone, language)
   SELECT DISTINCT 'default', owner_ref, 'account-' || owner_ref, 'Europe/Rome', 'it' FROM bench_device""",
    """INSERT INTO ownership (tenant_id, asset_id, owner_ref, since)
   SELECT 'default', device_id, owner_ref, %(now)s::timestamptz - interval '80 days' FROM bench_device""",
    """INSERT INTO firmware_history (tenant_id, device_id, firmware, since, received_at)
   SELECT 'default', device_id, '1.' || minor || '.0', at, at
   FROM bench_device CROSS JOIN generate_series(0, 3) AS minor
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - (90 - minor * 25) * interval '1 day' AS at) AS told
   WHERE minor < 3 OR n %% 3 = 0""",
    """INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state, basis, source)
   SELECT 'default', owner_ref, purpose, recipient, 'given', 'contract', 'purchase' FROM owner
   CROSS JOIN (VALUES ('service', 'crm'), ('service', 'email'), ('marketing', 'email'))
              AS kinds (purpose, recipient)""",
    """INSERT INTO device_event (tenant_id, device_id, ts, code, data, received_at, batch_seq, batch_row)
   SELECT 'default', device_id, at, (ARRAY['charging_started', 'charging_ended'])[1 + k %% 2], '{}', at, 0, 0
   FROM bench_device CROSS JOIN generate_series(1, 40) AS k
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - k * interval '2 days' - n * interval '1 second' AS at) AS told""",
    """INSERT INTO device_status (tenant_id, device_id, ts, code, received_at, batch_seq, batch_row)
   SELECT 'default', device_id, at, (ARRAY['online', 'offline'])[1 + k %% 2], at, 0, 0
   FROM bench_device CROSS JOIN generate_series(1, 40) AS k
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - k * interval '2 days' - n * interval '1 second' AS at) AS told""",
    """INSERT INTO device_order (tenant_id, device_id, missing, restarts, is_numbered, clock, offset_s, is_sure,
                          looks, says)
   SELECT 'default', device_id, n %% 5, 0, true, 'right', 0.2, true, 9, 'its clock is right' FROM bench_device""",
    """INSERT INTO device_command (command_id, tenant_id, device_id, name, data, issued_by, state, issued_at,
                          expires_at,
                               settled_at)
   SELECT 'cmd_' || md5(device_id || k), 'default', device_id, 'lock', '{}', 'person:anna', 'done', at,
          at + interval '1 day', at + interval '1 minute'
   FROM bench_device CROSS JOIN generate_series(1, 3) AS k
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - k * interval '9 days' AS at) AS told""",
    """INSERT INTO quarantine (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest,
                          first_received_at,
                           last_received_at)
   SELECT 'default', device_id, 'devices/' || device_id || '/telemetry', 'json', 0,
          (ARRAY['malformed', 'out_of_range', 'conflict'])[1 + k %% 3], 'at byte 17',
          convert_to('{"metrics":{"battery":' || n || k, 'UTF8'), sha256(convert_to(n || ' ' || k, 'UTF8')), at, at
   FROM bench_device CROSS JOIN generate_series(1, 4) AS k
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - (n + k) * interval '1 minute' AS at) AS told""",
)

_ALARMS: Final[Sequence[LiteralString]] = (
    """INSERT INTO alarm (alarm_id, tenant_id, device_id, watch, kind, metric, problem, severity, state, started_at,
                      decided_ts, ended_at, raised_at, updated_at, score, explanation, events)
   SELECT alarm_id, 'default', device_id, watch, kind, metric, problem, severity, state, started_at, raised_at,
          CASE WHEN state IN ('cleared', 'retracted') THEN raised_at + interval '20 hours' END, raised_at, raised_at,
          0.93, explanation, 2
   FROM bench_alarm ORDER BY raised_at""",
    """INSERT INTO alarm_event (tenant_id, alarm_id, n, event, ts, recorded_at, severity, score, explanation)
   SELECT 'default', alarm_id, k, CASE WHEN k = 1 THEN 'raised' WHEN state IN ('active') THEN 'updated' ELSE state END,
          raised_at + k * interval '5 hours', raised_at + k * interval '5 hours', severity, 0.93, explanation
   FROM bench_alarm CROSS JOIN generate_series(1, 2) AS k""",
    """INSERT INTO incident (incident_id, tenant_id, kind, model, firmware, problems, severity, title, says, evidence,
                         state, ending, started_at, known_at, ended_at, updated_at)
   SELECT 'inc_' || k, 'default', 'bad_firmware', 'e-bike', '1.' || k || '.0', '{battery}', 'major',
          'Firmware 1.' || k || '.0: batteries', 'More batteries than usual', '[]',
          CASE WHEN k = 12 THEN 'open' ELSE 'ended' END, CASE WHEN k < 12 THEN 'recovered' END, at, at,
          CASE WHEN k < 12 THEN at + interval '3 days' END, at
   FROM generate_series(1, 12) AS k
   CROSS JOIN LATERAL (SELECT %(now)s::timestamptz - (13 - k) * interval '6 days' AS at) AS told""",
    """INSERT INTO incident_member (tenant_id, incident_id, alarm_id, device_id, joined_at)
   SELECT 'default', 'inc_' || (1 + number %% 12), alarm_id, device_id, raised_at
   FROM bench_alarm WHERE suppressed = 'shadow' AND nth = 2""",
)

_CASES: Final[Sequence[LiteralString]] = (
    """INSERT INTO service_case (case_id, tenant_id, asset_id, device_id, problem, state, severity, title, brief,
                          ending,
                             team, owner_ref, opened_at, updated_at, closed_at, sla_due_at, resolution, outcome,
                          assignee)
   SELECT case_id, 'default', device_id, device_id, problem, state, severity, 'E-bike ' || device_id || ': ' || watch,
          'Above what is usual for hours. Please look at it.', CASE WHEN NOT is_live THEN 'It is over.' END,
          (ARRAY['service', 'workshop', 'safety'])[1 + n %% 3], owner_ref, opened_at, opened_at, closed_at,
          opened_at + interval '2 days', CASE state WHEN 'resolved' THEN 'recovered_in_telemetry'
                                                    WHEN 'retracted' THEN 'alarm_retracted' END,
          CASE WHEN NOT is_live AND n %% 3 = 0 THEN 'true' END, CASE WHEN n %% 7 = 0 THEN 'anna' END
   FROM bench_case ORDER BY opened_at""",
    """INSERT INTO case_alarm (alarm_id, tenant_id, case_id, asset_id, device_id, owner_ref, problem, watch, kind,
                          metric,
                           severity, state, suppressed, started_at, decided_ts, explanation, heard_at, updated_at)
   SELECT alarm_id, 'default', case_id, device_id, device_id, owner_ref, problem, watch, kind, metric, severity, state,
          suppressed, started_at, raised_at, explanation, raised_at, raised_at
   FROM bench_alarm ORDER BY raised_at""",
    """INSERT INTO case_transition (tenant_id, case_id, from_state, to_state, actor, reason, at)
   SELECT 'default', case_id, before, after, actor, reason, at
   FROM bench_case CROSS JOIN LATERAL (VALUES
       (NULL, 'proposed', 'policy', 'opened', opened_at), ('proposed', 'open', 'person:anna', 'approved', opened_at),
       ('open', 'open', 'crm:desk', 'accepted', opened_at + interval '1 hour'),
       ('open', state, 'telemetry', 'recovered_in_telemetry', closed_at)) AS move (before, after, actor, reason, at)
   WHERE at IS NOT NULL AND (state <> 'proposed' OR before IS NULL) ORDER BY at""",
    """INSERT INTO decision (tenant_id, case_id, asset_id, device_id, owner_ref, subject, recipient, gate, outcome,
                          reason,
                         inputs, decided_at)
   SELECT 'default', case_id, device_id, device_id, owner_ref, subject, recipient, gate, outcome, reason, inputs,
          opened_at
   FROM bench_case CROSS JOIN LATERAL (VALUES
       ('case', 'desk', 'kill_switch', 'allow', NULL, '{}'::jsonb),
       ('case', 'desk', 'freshness', 'allow', NULL, '{"age_s": 300}'),
       ('case', 'desk', 'budget', 'allow', NULL, '{"belief": 0.91}'),
       ('case', 'desk', 'grant', 'allow', NULL, '{"basis": "contract"}'),
       ('step', 'email', 'hold_out', 'allow', NULL, '{"group": "contacted"}'),
       ('step', 'email', 'frequency_cap', CASE WHEN n %% 3 = 0 THEN 'refuse' ELSE 'allow' END,
        CASE WHEN n %% 3 = 0 THEN 'frequency_cap' END, '{"contacts": 1}')
   ) AS gates (subject, recipient, gate, outcome, reason, inputs) ORDER BY opened_at""",
    """INSERT INTO case_endpoint (case_id, endpoint, tenant_id, types, state)
   SELECT case_id, 'desk', 'default', '{case.opened,case.updated}',
          CASE WHEN state = 'proposed' THEN 'pending' ELSE 'announced' END FROM bench_case""",
    """INSERT INTO external_ref (tenant_id, endpoint, case_id, external_id, recorded_at, seen_status)
   SELECT 'default', 'desk', case_id, 'T-' || n, opened_at, 'accepted' FROM bench_case WHERE state <> 'proposed'""",
    """INSERT INTO held_step (step_id, tenant_id, case_id, endpoint, owner_ref, kind, channel, template, text,
                          state, due_at,
                          decided_at, settled_at)
   SELECT 'stp_' || md5(case_id), 'default', case_id, 'desk', owner_ref, 'self_help', 'email', 'cool-down',
          'Please let the battery cool.', 'sent', opened_at, opened_at, opened_at + interval '2 hours'
   FROM bench_case WHERE n %% 3 = 1""",
    """INSERT INTO case_action (tenant_id, case_id, round, place, position, action, kind, verdict, reason, inputs, team,
                            channel, severity, sla_h, model, problem, decided_at)
   SELECT 'default', case_id, 1, place, place, kinds.kind || ':' || what, kinds.kind, verdict, reason, '{}', 'service',
          NULL, 'minor', 48, 'e-bike', problem, opened_at
   FROM bench_case CROSS JOIN (VALUES
       (1, 'agent_case', 'service', 'chosen', 'best'), (2, 'silent_fix', 'balance_cells', 'rejected', 'tried'),
       (3, 'self_help', 'cool-down', 'rejected', 'less_likely'), (4, 'nothing', 'nothing', 'rejected', 'worse')
   ) AS kinds (place, kind, what, verdict, reason)""",
    """INSERT INTO owner_contact (tenant_id, owner_ref, channel, contacted_at, source, reference, by_human, case_id)
   SELECT 'default', owner_ref, channel, settled_at, 'careloop', step_id, false, case_id FROM held_step""",
)

_MESSAGES: Final[Sequence[LiteralString]] = (
    """INSERT INTO outbox_stream (tenant_id, endpoint, stream_key, next_seq, head_seq, state)
   SELECT 'default', 'desk', case_id, 4, 4, 'live' FROM bench_case WHERE state <> 'proposed' ORDER BY opened_at""",
    """INSERT INTO outbox_message (message_id, tenant_id, stream_id, seq, type, body, state, reason, created_at,
                          settled_at)
   SELECT 'msg_' || md5(s.stream_key || k), 'default', s.stream_id, k,
          (ARRAY['case.opened', 'case.updated', 'case.updated'])[k],
          convert_to('{"type":"case.updated","data":{"case_id":"' || s.stream_key || '","title":"Too hot"}}', 'UTF8'),
          CASE WHEN k = 3 AND n %% 50 = 0 THEN 'dead' ELSE 'delivered' END,
          CASE WHEN k = 3 AND n %% 50 = 0 THEN 'permanent' END, opened_at, opened_at
   FROM outbox_stream s JOIN bench_case c ON c.case_id = s.stream_key CROSS JOIN generate_series(1, 3) AS k
   ORDER BY opened_at, k""",
    """INSERT INTO delivery_attempt (tenant_id, message_id, lease_token, started_at, settled_at, result, code, status,
                                 duration_s, answer)
   SELECT 'default', message_id, 1, created_at, created_at, CASE WHEN state = 'dead' THEN 'permanent' ELSE 'ok' END,
          CASE WHEN state = 'dead' THEN 'http_422' END, CASE WHEN state = 'dead' THEN 422 ELSE 200 END, 0.1, '{}'
   FROM outbox_message ORDER BY number""",
    """INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, bar_at, device_days, devices, counted_at)
   SELECT 'default', 'e-bike', watch, 'auto', %(now)s, %(now)s, 1000, %(devices)s, %(now)s
   FROM (SELECT DISTINCT watch FROM bench_alarm) AS watches""",
    """INSERT INTO watch_audit (tenant_id, model, watch, from_mode, to_mode, held, actor, why, at)
   SELECT 'default', 'e-bike', watch, 'shadow', 'auto', false, 'rule', 'earned', %(now)s FROM watch_trust""",
    """INSERT INTO watch_cell (tenant_id, model, watch, strength, lasting, standing, were_true, were_false, as_of)
   SELECT 'default', 'e-bike', watch, strength, lasting, 3, 2, 1, %(now)s
   FROM watch_trust CROSS JOIN generate_series(0, 7) AS strength CROSS JOIN generate_series(0, 7) AS lasting""",
    """INSERT INTO watch_episode (alarm_id, tenant_id, model, watch, score, strength, lasting, placed_at, verdict,
                          weight,
                              source, verdict_at, case_id)
   SELECT alarm_id, 'default', 'e-bike', watch, 0.93, 3, 3, raised_at, CASE WHEN number %% 3 > 0 THEN 'true' END, 1,
          'agent', CASE WHEN number %% 3 > 0 THEN raised_at END, case_id FROM bench_alarm""",
    """INSERT INTO audit (tenant_id, who, what, subject, inputs, at)
   SELECT 'default', 'person:anna', (ARRAY['case.approve', 'case.read', 'owner.read'])[1 + k %% 3], case_id,
          '{"owner": "owner-1"}', opened_at FROM bench_case CROSS JOIN generate_series(0, 2) AS k ORDER BY opened_at""",
    """INSERT INTO pipeline_counter (tenant_id, name, value) VALUES ('default', 'stored', %(rows)s)
   ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value""",
    "DELETE FROM change",
)

FILL: Final[Sequence[LiteralString]] = (MAKE_CASES, MAKE_ALARMS, *_OWNERS, *_ALARMS, *_CASES, *_MESSAGES)
"""After `NUMBER_DEVICES`, each in a transaction of its own; %(now)s, %(devices)s, %(live)s, %(ended)s, %(rows)s."""
