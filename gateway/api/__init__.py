"""The HTTP API: what simulators, consoles and operators ask, behind a token; and where CRMs call back."""
