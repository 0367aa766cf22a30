-- A child that is still live when its incident is over goes on by itself: since then it is part of its major case no more.
ALTER TABLE service_case ADD COLUMN left_major_at timestamptz;
