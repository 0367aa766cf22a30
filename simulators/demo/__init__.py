"""`careloop demo`: the gateway, a fleet and a CRM together, and the scorecard of what came of it."""
