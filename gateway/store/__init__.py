"""Where readings lie: a table per product model, in TimescaleDB hypertables or native PostgreSQL partitions."""
