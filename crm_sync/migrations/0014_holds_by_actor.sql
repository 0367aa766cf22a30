-- Each actor has a hold of its own, with the actor's time of its last word on it: what comes late changes nothing.
ALTER TABLE owner_hold ADD COLUMN told_at timestamptz;
UPDATE owner_hold SET told_at = coalesce(released_at, since);
ALTER TABLE owner_hold ALTER COLUMN told_at SET NOT NULL;
DROP INDEX owner_hold_now;
CREATE UNIQUE INDEX owner_hold_now ON owner_hold (tenant_id, owner_ref, kind, actor) WHERE released_at IS NULL;
CREATE INDEX owner_hold_told ON owner_hold (tenant_id, owner_ref, kind, actor, told_at);
