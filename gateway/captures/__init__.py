"""The raw messages of a device, kept for a while because an operator wants to look at them."""
