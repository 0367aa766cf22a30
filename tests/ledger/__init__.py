"""A ledger kept on the devices' side of the wire, and its proof against the database. Shares no code with careloop."""
