"""The `subscribe` door: careloop is a client of a broker."""
