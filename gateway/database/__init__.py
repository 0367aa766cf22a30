"""The database careloop runs on: one of its own, or yours; connecting to it, and bringing its schema up to date."""
