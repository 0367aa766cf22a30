"""As which model trust knows a product, and as which watch what raised an alarm."""

from collections.abc import Mapping
from typing import Final

from devices.profiles.model import Profile

AUTOMATIC: Final = "automatic"
"""The model of products that have no profile of their own: they are watched by the automatic one."""


def trusted_model(profiles: Mapping[str, Profile], model: str | None) -> str:
    """The model itself where it has a profile with watches of its own."""
    profile = None if model is None else profiles.get(model)
    return AUTOMATIC if profile is None or profile.automatic else profile.model


def trusted_watch(model: str, watch: str, kind: str) -> str:
    """The name under which a watch's outcomes are kept, on a model as trust knows it.

    Those that the automatic profile makes for each metric and event are one by their detector: each has few alarms.
    What it names itself looks for something else, though its alarms be of the same kind: that a metric is no longer
    heard of (`sensors`) says nothing of a value that stands still (`stuck`).
    """
    detector = kind.replace("_", "-")
    return detector if model == AUTOMATIC and watch.startswith(f"{detector}-") else watch
