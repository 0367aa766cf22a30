"""A benchmark of machines that run until they fail: how early the detectors tell, and how often too early."""
