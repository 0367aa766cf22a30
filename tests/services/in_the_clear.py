"""For HTTP to this machine: httpx reads every authority's certificate for each client, some 20 ms that nobody uses.

A test that asks until something has come asks often, and would take a core from those whom it waits for.
"""

import ssl
from typing import Final

IN_THE_CLEAR: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What to give `httpx` as `verify` where the address is `http://`; it trusts nobody."""
