"""What CRMs do with their records by themselves, and how careloop hears of it: hooks of their own, and asking."""
