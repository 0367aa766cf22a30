"""Who may do what: people and tokens, their roles, their sessions, and the record of what they did."""
