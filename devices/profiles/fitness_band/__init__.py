"""Profile of a fitness band; profile.toml says everything."""
