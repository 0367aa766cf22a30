"""The gateway in numbers, for Prometheus: read off when somebody asks, never on a reading's way."""
