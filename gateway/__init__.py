"""The doors, the ingest pipeline, the detectors, the API and the composition root."""
