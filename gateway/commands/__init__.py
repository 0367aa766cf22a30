"""Commands on their way to devices: through the listen door, or through your broker."""
