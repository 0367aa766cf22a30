"""Answers of several pieces: how far each endpoint has told what it has to tell."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from crm_sync.adapters.contract import Answered, News

MOST_STEPS: Final = 50
"""Pieces that are taken at once; the rest when it is asked again, from where it was left."""


@dataclass(slots=True)
class Walk:
    """One way through all that changed since an instant; times are real."""

    began_s: float
    since_s: float
    place: object | None = None
    has_gaps: bool = False  # something was left for the next time


@dataclass(slots=True)
class Walks:
    """Those that are under way, by endpoint: a failure in between does not begin anew."""

    _under_way: dict[str, Walk] = field(default_factory=dict[str, Walk])

    def resume(self, name: str) -> Walk | None:
        """One that has not come to its end."""
        return self._under_way.get(name)

    async def go(
        self,
        name: str,
        walk: Walk,
        ask: Callable[[float, object | None], Awaitable[Answered[News]]],
        take: Callable[[Sequence[News]], Awaitable[bool]],
        reached: Callable[[float], Awaitable[None]],
    ) -> bool:
        """Take piece after piece, a bounded number; whether that was all. `take` says whether it left something.

        `reached` is told up to when everything has been taken: of what is left something, no more of it.
        """
        for _ in range(MOST_STEPS):
            answered = await ask(walk.since_s, walk.place)
            walk.has_gaps |= await take(answered.told)
            walk.place = answered.place
            if answered.place is None:
                self._under_way.pop(name, None)
                if not walk.has_gaps:
                    await reached(walk.began_s)
                return True
            self._under_way[name] = walk
            if answered.until_s is not None and not walk.has_gaps:
                await reached(max(walk.since_s, min(answered.until_s, walk.began_s)))
        return False
