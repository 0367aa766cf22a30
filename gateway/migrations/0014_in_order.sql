-- Up to when a model's rollups lie in the order of devices on disk: its hours day by day, its days month by month.
ALTER TABLE rollup ADD COLUMN hours_in_order_to timestamptz, ADD COLUMN days_in_order_to timestamptz;
