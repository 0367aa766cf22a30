"""Who plays in a demo: a simulated fleet, or real series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from devices.profiles.model import Profile
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.registry import write_registry
from simulators.fleet.world import Settings, World, make_world
from simulators.replay import Playback, read_series, write_playback_registry


@dataclass(frozen=True, slots=True)
class FleetCast:
    """A fleet."""

    world: World

    @classmethod
    def make(cls, settings: Settings, profiles: Mapping[str, Profile]) -> "FleetCast":
        """Make the fleet."""
        return cls(make_world(settings, profiles))

    @property
    def labels(self) -> Sequence[Label]:
        """Every labelled fault."""
        return self.world.labels

    @property
    def device_ids(self) -> list[str]:
        """The devices."""
        return [device.device_id for device in self.world.devices]

    def write_registry(self, path: Path) -> None:
        """Write the registry file."""
        write_registry(self.world, path)


@dataclass(frozen=True, slots=True)
class ReplayCast:
    """Real series, moved so that all begin together and the longest ends today; nobody labelled their faults."""

    world: Playback

    @classmethod
    def read(cls, files: Sequence[Path], seed: int) -> "ReplayCast":
        """Read the series. Raises UnreadableSeries."""
        rng = np.random.default_rng(seed)
        series = [read_series(path) for path in files]
        longest_s = max(one.end_s - one.start_s for one in series)
        start_s = span_until_today(longest_s / DAY_S).start_s
        moved = [one.shifted(start_s - one.start_s) for one in series]
        for one in moved:
            one.give_secret(rng)
        return cls(Playback(moved))

    @property
    def labels(self) -> Sequence[Label]:
        """None."""
        return ()

    @property
    def device_ids(self) -> list[str]:
        """The devices."""
        return self.world.device_ids

    def write_registry(self, path: Path) -> None:
        """Write the registry file."""
        write_playback_registry(self.world, path)


def span_until_today(days: float) -> Span:
    """So many days, the last of which was yesterday."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    return Span(today - days * DAY_S, days)
