"""The devices that the gateway knows, in memory."""

from collections.abc import Iterable

from devices.registry.model import Device


class DeviceDirectory:
    """Registered devices by id; the pipeline looks up each packet's device here."""

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self._devices = {str(device.device_id): device for device in devices}
        self._gone: set[str] = set()
        self.changes = 0  # how often a device was removed, or became another: what was decoded before is out of date

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, device_id: str) -> Device | None:
        """The device, or None when it is not registered."""
        return self._devices.get(device_id)

    def strangers(self, device_ids: Iterable[str]) -> set[str]:
        """Those of the devices that are not registered."""
        return set(device_ids).difference(self._devices)

    def put(self, device: Device) -> None:
        """Know a device, or know it anew."""
        before = self._devices.get(str(device.device_id))
        self.changes += before is not None and before != device
        self._devices[str(device.device_id)] = device
        self._gone.discard(str(device.device_id))

    def remove(self, device_id: str) -> None:
        """Know a device no longer."""
        if self._devices.pop(device_id, None) is not None:
            self._gone.add(device_id)
            self.changes += 1

    def take_gone(self) -> set[str]:
        """The devices that are known no longer, each told once."""
        gone, self._gone = self._gone, set()
        return gone

    def ids(self) -> list[str]:
        """Every device that is known."""
        return list(self._devices)
