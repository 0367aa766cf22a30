"""Out of the outbox and into CRMs: claim, ask once more, send, settle."""
