"""Times for readings of devices without a clock.

The receipt time stands in for the device's. It is made unique per device, so that two messages received in one
microsecond do not become one reading; it also means that a message delivered twice cannot be recognised when it carries
no time of its own.
"""


class ReceiptTimes:
    """Gives each clockless reading of a device a receipt time of its own."""

    def __init__(self) -> None:
        self._last_us: dict[str, int] = {}

    def next_us(self, device_id: str, received_us: int) -> int:
        """`received_us`, or the first free microsecond after it."""
        unique_us = max(received_us, self._last_us.get(device_id, -1) + 1)
        self._last_us[device_id] = unique_us
        return unique_us
