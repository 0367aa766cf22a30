-- That a metric is no longer heard of (`sensors`, which the automatic profile names) and that a value stands still
-- (`stuck`) were one watch to trust. Each now has the outcomes and the history of its own alarms, counted again from
-- them with the default memory of 90 days; the mode is for both what it was for one.
INSERT INTO watch_trust (tenant_id, model, watch, mode, mode_since, held, bar, bar_at, device_days, devices, counted_at,
                         stated_mode, changed_at)
SELECT tenant_id, model, 'sensors', mode, mode_since, held, bar, bar_at, device_days, devices, counted_at,
       stated_mode, changed_at
  FROM watch_trust WHERE model = 'automatic' AND watch = 'stuck'
ON CONFLICT (tenant_id, model, watch) DO UPDATE
SET mode = excluded.mode, mode_since = excluded.mode_since, held = excluded.held,
    bar = excluded.bar, bar_at = excluded.bar_at;

UPDATE watch_episode e SET watch = 'sensors'
  FROM case_alarm a
 WHERE a.alarm_id = e.alarm_id AND (e.model, e.watch, a.watch) = ('automatic', 'stuck', 'sensors');

DELETE FROM watch_cell WHERE model = 'automatic' AND watch IN ('stuck', 'sensors');

INSERT INTO watch_cell (tenant_id, model, watch, strength, lasting, standing, were_true, were_false, as_of)
SELECT tenant_id, model, watch, strength, lasting,
       sum(share * CASE WHEN verdict IS NULL THEN 1 ELSE 1 - weight END),
       sum(share * CASE WHEN verdict = 'true' THEN weight ELSE 0 END),
       sum(share * CASE WHEN verdict = 'false' THEN weight ELSE 0 END),
       as_of
  FROM (SELECT e.*, newest.as_of,
               power(2, -extract(epoch FROM newest.as_of - e.placed_at)::double precision / (90 * 86400)) AS share
          FROM watch_episode e
          JOIN watch_trust t USING (tenant_id, model, watch)
          JOIN (SELECT tenant_id, max(placed_at) AS as_of FROM watch_episode WHERE model = 'automatic' GROUP BY 1)
               AS newest USING (tenant_id)
         WHERE e.model = 'automatic' AND e.watch IN ('stuck', 'sensors') AND e.placed_at >= t.changed_at) AS own
 GROUP BY tenant_id, model, watch, strength, lasting, as_of;

-- What only the other one's false cases had raised.
UPDATE watch_trust t SET bar = 0
 WHERE model = 'automatic' AND watch IN ('stuck', 'sensors')
   AND NOT EXISTS (SELECT FROM watch_episode e
                    WHERE (e.tenant_id, e.model, e.watch) = (t.tenant_id, t.model, t.watch) AND e.verdict = 'false');
