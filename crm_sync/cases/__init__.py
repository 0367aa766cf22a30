"""Cases: one for each fault of an asset, from its opening to its end."""
