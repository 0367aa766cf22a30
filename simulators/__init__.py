"""Fleets with habits and labelled faults, a CRM that misbehaves, replay of real data, the scorecard."""
