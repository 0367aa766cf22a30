"""Detectors over whole fleets at once: pure, vectorised, with explicit state that can be saved and restored."""
