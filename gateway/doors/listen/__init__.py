"""The `listen` door: devices connect to careloop itself."""
