"""The gates between a fault and a person: each says yes, later or no, and why."""
