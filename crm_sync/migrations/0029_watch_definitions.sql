-- What a watch looks for, as its profile said last, and the mode that the profile names: who edits them begins something new.
ALTER TABLE watch_trust ADD COLUMN definition text;   -- null: not known yet
ALTER TABLE watch_trust ADD COLUMN stated_mode text;
ALTER TABLE watch_trust ADD COLUMN changed_at timestamptz NOT NULL DEFAULT 'epoch'; -- alarms from before count no longer
