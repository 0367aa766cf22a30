"""What is shown of a device, and when that has changed enough to be written again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.order.clocks import NEWS_S
from gateway.order.tracker import OrderView, Tracker
from gateway.order.words import is_sure, say_clock, say_gap, state_of


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a device."""

    missing: int
    restarts: int
    is_numbered: bool
    clock: str
    offset_s: float | None
    is_sure: bool
    looks: int
    moved_at_s: float | None
    moved_by_s: float | None
    says: str

    @classmethod
    def of(cls, view: OrderView) -> "Shown":
        """What there is to show."""
        clock = view.clock
        gap = say_gap(view.missing) if view.is_numbered else "it does not number its messages"
        return cls(
            missing=view.missing,
            restarts=view.restarts,
            is_numbered=view.is_numbered,
            clock=state_of(clock),
            offset_s=clock.offset_s,
            is_sure=is_sure(clock),
            looks=clock.looks,
            moved_at_s=clock.moved_at_s,
            moved_by_s=None if clock.moved_at_s is None else clock.moved_by_s,
            says=f"{gap}; {say_clock(clock)}",
        )

    def is_news(self, before: "Shown") -> bool:
        """Whether this differs from what was shown before by more than a few seconds and looks."""
        same = replace(self, offset_s=before.offset_s, looks=before.looks, says=before.says)
        moved_s = abs((self.offset_s or 0.0) - (before.offset_s or 0.0))
        return same != before or moved_s > NEWS_S


def changed_views(tracker: Tracker, before: Mapping[int, Shown]) -> dict[str, Shown]:
    """What is to be shown anew, by device."""
    changed: dict[str, Shown] = {}
    for slot in tracker.changed:
        shown, known = Shown.of(tracker.view(slot)), before.get(slot)
        if known is None or shown.is_news(known):
            changed[tracker.ids[slot]] = shown
    return changed
