"""Between an alarm and its case: may its watch open cases, how likely is it true, and is there room for it."""
