"""Rounds of faults under load, with a ledger on the devices' side: `make faults`."""
