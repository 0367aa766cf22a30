"""Commands to devices, as rows: whoever wants one puts it here, and a gateway sends it."""
