"""Pieces of many devices that wait as they came, as long as nobody has to be held back for the others' sake."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from gateway.intake import Bunch, Gathered, Mixed

_FAR_MORE: Final = 4.0  # than others have waiting


class Whole:
    """In the order of arrival; not in lanes yet, and later than whatever of their origins is."""

    __slots__ = ("_whose", "pieces")

    def __init__(self) -> None:
        self.pieces: list[Mixed] = []
        self._whose: set[int | str] = set()  # origins by their identity, and devices of what was gathered

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def append(self, piece: Mixed) -> None:
        """Put a piece behind the others."""
        self.pieces.append(piece)
        self._whose.update(_whose(piece))

    def has_before(self, bunch: Bunch) -> bool:
        """Whether any of it may be of a bunch's origin, or of its device, on the connection that it had before."""
        return id(bunch.origin) in self._whose or bunch.device_id in self._whose

    def take_all(self) -> Sequence[Mixed]:
        """All pieces, which are gone from here then."""
        return self.take(len(self.pieces))

    def take(self, count: int) -> Sequence[Mixed]:
        """The first pieces, which are gone from here then."""
        taken, self.pieces = self.pieces[:count], self.pieces[count:]
        self._whose = set(chain.from_iterable(map(_whose, self.pieces)))
        return taken

    def is_stormed(self, least: int) -> bool:
        """Whether a device has far more packets waiting than the others have, and more than a turn is, the `least`.

        At the listen door, where a few could flood and keep all others waiting, than any other has; a broker's go on
        as they came until one stands out.
        """
        waiting = Counter(chain.from_iterable([piece.device_ids for piece in self.pieces]))
        most = max(waiting.values(), default=0)
        if most <= least:
            return False
        if any(isinstance(piece.origin, Gathered) for piece in self.pieces):
            return most > _FAR_MORE * min(waiting.values())
        return most > _FAR_MORE * (waiting.total() - most) / max(len(waiting) - 1, 1)


def _whose(piece: Mixed) -> Iterable[int | str]:
    origin = piece.origin
    return chain(map(id, origin.origins), piece.device_ids) if isinstance(origin, Gathered) else (id(origin),)
