"""The fleet layer: what goes wrong with many devices at once is one incident, and not thousands of alarms."""
