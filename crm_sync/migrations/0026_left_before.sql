-- Children that are live still though their incident ended before 0019 was there: nobody else speaks for them any more.
UPDATE service_case SET left_major_at = now()
 WHERE closed_at IS NULL AND left_major_at IS NULL AND parent_id IN (SELECT case_id FROM major_case WHERE is_over);
