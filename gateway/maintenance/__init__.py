"""What keeps the store in order beside ingest: usage rollups, retention, and what the database's edition adds."""
