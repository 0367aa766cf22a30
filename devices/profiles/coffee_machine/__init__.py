"""Profile of a coffee machine; profile.toml says everything."""
