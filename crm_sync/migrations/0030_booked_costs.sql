-- What an alarm's case was booked with when it opened: whoever takes a word back, or outweighs one, corrects from there.
-- Of episodes that were judged before this was kept, it is not known: they stay as they were settled.
ALTER TABLE watch_episode ADD COLUMN booked double precision;
UPDATE watch_episode SET booked = cost WHERE verdict IS NULL;
