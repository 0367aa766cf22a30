"""How long it took from the first sign to the proof that it is gone, and what became of it on the way."""
