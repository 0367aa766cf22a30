-- Contacts from before they were counted: caps, and the rule that nobody is told of the same thing twice, begin with them.
-- What a CRM has not taken yet is counted when it does.
INSERT INTO owner_contact (
    tenant_id, owner_ref, channel, contacted_at, source, reference, by_human, case_id, asset_id, model, problem, action
)
SELECT s.tenant_id, s.owner_ref, s.channel, coalesce(s.settled_at, s.due_at), 'careloop', s.step_id, false, s.case_id,
       c.asset_id, a.model, c.problem, coalesce(s.template, s.kind)
  FROM held_step s JOIN service_case c USING (case_id) LEFT JOIN asset a ON a.asset_id = c.asset_id
       LEFT JOIN outbox_message m ON m.message_id = s.message_id
 WHERE s.state = 'sent' AND coalesce(m.state, 'delivered') = 'delivered'
ON CONFLICT DO NOTHING;
