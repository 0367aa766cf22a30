"""Profile of a washing machine; profile.toml says everything."""
