"""From packets to stored, judged and acknowledged readings: queue, decode, batch, transaction, settlement."""
