"""Which device may speak for which others: an edge node or gateway for what is attached to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

GATEWAY: Final = "{gateway}"


@dataclass(frozen=True, slots=True)
class Grant:
    """A device, by id or pattern (``*`` stands for any characters), and the ids or patterns that it may speak for.

    ``{gateway}`` in the latter is the id of the device that speaks, so that ``{gateway}-*`` ties names to it.
    """

    gateway: str
    devices: tuple[str, ...]


class Authority:
    """Everything that has been granted; nothing, unless it was said."""

    def __init__(self, grants: Sequence[Grant] = ()) -> None:
        self._grants = tuple(grants)

    @property
    def edge_nodes(self) -> tuple[str, ...]:
        """Ids and patterns of those that may speak for others; what fits everybody names nobody."""
        return tuple(grant.gateway for grant in self._grants if grant.gateway.strip("*"))

    def may(self, speaker: str, device_id: str) -> bool:
        """Whether `speaker` may tell of `device_id`; of itself it always may."""
        if speaker == device_id:
            return True
        for grant in self._grants:
            if fnmatchcase(speaker, grant.gateway) and any(
                fnmatchcase(device_id, pattern.replace(GATEWAY, speaker)) for pattern in grant.devices
            ):
                return True
        return False
