"""Real services for tests: PostgreSQL, TimescaleDB and Mosquitto, started and stopped by fixtures."""
