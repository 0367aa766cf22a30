-- Cases that nobody has answered yet are looked up for each alarm of their watch.
CREATE INDEX watch_episode_unanswered ON watch_episode (tenant_id, model, watch)
    WHERE verdict IS NULL AND case_id IS NOT NULL;
