"""As which model trust knows a product."""

from collections.abc import Mapping
from typing import Final

from devices.profiles.model import Profile

AUTOMATIC: Final = "automatic"
"""The model of products that have no profile of their own: they are watched by the automatic one."""


def trusted_model(profiles: Mapping[str, Profile], model: str | None) -> str:
    """The model itself where it has a profile with watches of its own."""
    profile = None if model is None else profiles.get(model)
    return AUTOMATIC if profile is None or profile.automatic else profile.model
