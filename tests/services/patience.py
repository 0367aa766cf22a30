"""How long a test waits for what is bound to come: long enough for a machine that has much else to do."""

from typing import Final

PATIENCE_S: Final = 240.0
