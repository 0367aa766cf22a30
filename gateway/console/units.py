"""Units as people write them, from the UCUM codes of profiles."""

from collections.abc import Mapping
from typing import Final

from devices.profiles.model import Profile

WRITTEN: Final = {"Cel": "°C", "1": "", "m/s2": "m/s²", "Ohm": "Ω", "deg": "°", "W.h": "Wh", "kW.h": "kWh"}


def units_of(profile: Profile | None) -> Mapping[str, str]:
    """The unit of each metric that a profile knows."""
    if profile is None:
        return {}
    return {name: _written(metric.unit) for name, metric in profile.metrics.items()}


def _written(code: str) -> str:
    return WRITTEN.get(code) or code.replace("{", "").replace("}", "") if code != "1" else ""
