"""What decoding looks things up in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from devices.payloads import Codec
from devices.profiles.model import Profile
from devices.registry.model import Device
from gateway.pipeline.clockless import ReceiptTimes
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.settings import PipelineSettings
from gateway.pipeline.together import Decoders
from gateway.store.tables import ReadingTables

AUTOMATIC: Final = "automatic"
"""The model of devices that name none, or one without a profile."""


def profile_of(profiles: Mapping[str, Profile], device: Device) -> Profile:
    """The profile that a device's readings follow."""
    model = device.model if device.model is not None and device.model in profiles else AUTOMATIC
    return profiles[model]


@dataclass(slots=True)
class Sources:
    """What decoding looks things up in, and what it remembers from batch to batch."""

    settings: PipelineSettings
    devices: DeviceDirectory
    codecs: Mapping[str, Codec]
    profiles: Mapping[str, Profile]
    tables: ReadingTables
    receipt_times: ReceiptTimes = field(default_factory=ReceiptTimes)
    firmware: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])  # and since when
    decoders: Decoders = field(init=False)

    def __post_init__(self) -> None:
        self.decoders = Decoders(self.codecs)

    def model_of(self, device: Device) -> str:
        """The profile that a device's readings follow."""
        return profile_of(self.profiles, device).model

    def profile_of(self, device_id: str) -> Profile | None:
        """The profile of a device; None for one that is not registered."""
        device = self.devices.get(device_id)
        return None if device is None else profile_of(self.profiles, device)
