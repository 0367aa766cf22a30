"""Stored history judged again, with the watches as they are and as they might be, and compared in outcomes."""
