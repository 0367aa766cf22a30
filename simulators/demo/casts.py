"""Who plays in a demo: a simulated fleet, or real series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from devices.profiles.model import Profile
from simulators.fleet.faults import Label
from simulators.fleet.habits import DAY_S, Span
from simulators.fleet.registry import write_registry
from simulators.fleet.world import Settings, World, make_world
from simulators.replay import Playback, read_series, write_playback_registry

LATER_BEGINS: Final = 0.4
"""Faults begin a good way into their stretch of time: the later one's is moved so far back that some begin at once."""


@dataclass(frozen=True, slots=True)
class FleetCast:
    """A fleet; it may live on after the time that is played."""

    world: World
    played: Span

    @classmethod
    def make(cls, settings: Settings, profiles: Mapping[str, Profile], more_days: float = 0.0) -> "FleetCast":
        """Make the fleet, with as many faults again for the time in which it lives on."""
        played = settings.span
        if more_days:
            later = Span(played.end_s - LATER_BEGINS * more_days * DAY_S, more_days)
            faults = replace(settings.faults, share=2 * settings.faults.share, within=(played, later))
            settings = replace(settings, span=Span(played.start_s, played.days + more_days), faults=faults)
        return cls(make_world(settings, profiles), played)

    @property
    def labels(self) -> Sequence[Label]:
        """Every labelled fault of the time that is played."""
        return [label for label in self.world.labels if label.starts_at_s < self.played.end_s]

    @property
    def mended(self) -> int:
        """Commands that really ended a fault."""
        return sum(len(device.mended) for device in self.world.devices)

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
    def played(self) -> Span:
        """All of it."""
        return self.world.span

    @property
    def labels(self) -> Sequence[Label]:
        """None."""
        return ()

    @property
    def mended(self) -> int:
        """None: what is replayed obeys nobody."""
        return 0

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
