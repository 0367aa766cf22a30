"""Real services for tests: PostgreSQL, TimescaleDB and Mosquitto, started by fixtures and stopped when they are done."""
