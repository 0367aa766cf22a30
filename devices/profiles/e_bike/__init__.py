"""Profile of an electric bicycle; profile.toml says everything."""
