"""How far each device's clock is off, estimated from when its messages reach us.

A message reaches us after it was made: `ts - received` is the clock's offset less the delay, so that the *greatest* of
many such differences comes near the offset, whatever backlog and slow networks do. The greatest of each ten minutes of
receipt is one look at the clock. A level holds while looks agree with it, follows a drift, and moves where new looks
agree with each other: two that show it further ahead, which no delay can feign, or three that show it further behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gateway.store.rows import Floats, Longs

LOOK_S: Final = 600.0
AGREE_S: Final = 90.0
"""Looks that differ by less show the same clock."""

FANCIFUL_S: Final = 366 * 86_400.0
"""A clock that is further ahead is believed only while nothing else comes: programs write 9999-12-31 for `never`."""

DRIFT: Final = 2e-4
"""How fast a level may sink while looks stay below it: twice as fast as a poor crystal runs slow."""

NEWS_S: Final = 10.0
"""A level that has changed by less since it was last told is no news."""

AHEAD_LOOKS: Final = 2
BEHIND_LOOKS: Final = 3

Slots = npt.NDArray[np.intp]

FIELDS: Final[Mapping[str, tuple[str, float]]] = {
    "look": ("f8", -1.0),  # number of the look that is being taken: receipt time in spans of LOOK_S
    "best_s": ("f8", -np.inf),  # greatest difference in it
    "level_s": ("f8", np.nan),  # the clock's offset; positive is ahead
    "looks": ("f8", 0.0),  # that agree with the level
    "other_s": ("f8", np.nan),  # where the latest looks agree with each other, but not with the level
    "other_looks": ("f8", 0.0),
    "looked_s": ("f8", np.nan),  # receipt time of the latest look at the level
    "moved_at_s": ("f8", np.nan),  # receipt time at which the level last moved
    "moved_by_s": ("f8", 0.0),
    "told_s": ("f8", np.nan),  # the level that was last news
    "timed": ("f8", 0.0),  # receipt time of the latest message with a time of its own; 0 for never
    "untimed": ("f8", 0.0),  # and of the latest without
}


@dataclass(frozen=True, slots=True)
class ClockView:
    """What is known of one device's clock."""

    offset_s: float | None  # positive is ahead; None while nothing is known
    looks: int  # that agree on it
    moved_at_s: float | None  # receipt time at which the offset last moved
    moved_by_s: float
    is_clockless: bool  # its latest message bore no time of its own


class Clocks:
    """The clocks of all devices, as columns by slot."""

    def __init__(self) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {name: np.empty(0, dtype) for name, (dtype, _) in FIELDS.items()}

    def grow(self, capacity: int) -> None:
        """Make room for so many slots."""
        for name, (dtype, initial) in FIELDS.items():
            old = self.columns[name]
            column = np.full(capacity, initial, dtype)
            column[: len(old)] = old
            self.columns[name] = column

    def note_untimed(self, slots: Slots, received_us: Longs) -> Slots:
        """Messages that bear the time of their receipt; gives the slots that had a clock until now."""
        timed, untimed = self.columns["timed"], self.columns["untimed"]
        had_none = untimed[slots] > timed[slots]
        np.maximum.at(untimed, slots, received_us / 1e6)
        return slots[~had_none]

    def take(self, slots: Slots, ts_us: Longs, received_us: Longs, stagger: Floats | float = 0.0) -> Slots:
        """Take messages with times of their own, ordered by slot, of each slot in their order of receipt.

        `stagger`, 0 to 1 for each message, is how far into its look a clock is at the full ten minutes: or all clocks
        of a fleet would be judged at once. Gives the slots of which there is news.
        """
        look = np.floor(received_us / (LOOK_S * 1e6) + stagger)
        is_next = np.empty(len(slots), np.bool_)
        is_next[:1] = True
        is_next[1:] = (slots[1:] != slots[:-1]) | (look[1:] != look[:-1])
        starts = np.flatnonzero(is_next)
        best_s = _greatest((ts_us - received_us) / 1e6, starts)
        latest_s = np.maximum.reduceat(received_us, starts) / 1e6
        slots, look = slots[starts], look[starts]
        changed: list[Slots] = []
        while len(slots):  # as many rounds as one slot has looks here: one but for what is read back at a start
            first = np.diff(slots, prepend=-1) != 0
            changed.append(self._look(slots[first], look[first], best_s[first], latest_s[first]))
            rest = ~first
            slots, look, best_s, latest_s = slots[rest], look[rest], best_s[rest], latest_s[rest]
        return np.concatenate(changed) if changed else slots

    def _look(self, slots: Slots, look: Floats, best_s: Floats, latest_s: Floats) -> Slots:
        """One look, or a part of one, at each of some distinct slots."""
        columns = self.columns
        had_none = columns["untimed"][slots] > columns["timed"][slots]
        columns["timed"][slots] = np.maximum(columns["timed"][slots], latest_s)
        over = look > columns["look"][slots]
        fresh = slots[over]
        had_look = columns["look"][fresh] >= 0
        news = [fresh[~had_look], slots[had_none]]
        if had_look.any():
            news.append(self._close(fresh[had_look]))
        columns["look"][fresh], columns["best_s"][fresh] = look[over], -np.inf
        columns["best_s"][slots] = _greater(columns["best_s"][slots], best_s)
        return np.concatenate(news)

    def _close(self, slots: Slots) -> Slots:
        """Judge the looks that are complete; gives the slots of which that is news."""
        columns = self.columns
        seen_s, at_s = columns["best_s"][slots], (columns["look"][slots] + 1.0) * LOOK_S
        level_s, other_s = columns["level_s"][slots], columns["other_s"][slots]
        is_new = np.isnan(level_s) | ((level_s > FANCIFUL_S) & (seen_s <= FANCIFUL_S))
        agrees = ~is_new & (np.abs(seen_s - level_s) <= AGREE_S)
        waited_s = np.nan_to_num(at_s - columns["looked_s"][slots])
        followed_s = np.where(agrees, np.maximum(seen_s, level_s - DRIFT * waited_s), level_s)

        differs = ~is_new & ~agrees
        goes_on = differs & (np.abs(seen_s - other_s) <= AGREE_S)
        other_looks = np.where(goes_on, columns["other_looks"][slots] + 1.0, np.where(differs, 1.0, 0.0))
        other_s = np.where(goes_on, np.maximum(seen_s, other_s), np.where(differs, seen_s, np.nan))
        wanted = np.where(seen_s > level_s, AHEAD_LOOKS, BEHIND_LOOKS)
        moves = differs & (other_looks >= wanted)

        moved_at_s, moved_by_s = columns["moved_at_s"][slots], columns["moved_by_s"][slots]
        columns["moved_at_s"][slots] = np.where(is_new, np.nan, np.where(moves, at_s, moved_at_s))
        columns["moved_by_s"][slots] = np.where(is_new, 0.0, np.where(moves, other_s - level_s, moved_by_s))
        columns["level_s"][slots] = np.where(is_new, seen_s, np.where(moves, other_s, followed_s))
        columns["looks"][slots] = np.where(
            is_new, 1.0, np.where(moves, other_looks, columns["looks"][slots] + np.where(agrees, 1.0, 0.0))
        )
        columns["other_looks"][slots] = np.where(moves, 0.0, other_looks)
        columns["other_s"][slots] = np.where(moves, np.nan, other_s)
        columns["looked_s"][slots] = np.where(differs & ~moves, columns["looked_s"][slots], at_s)
        level_s, looks = columns["level_s"][slots], columns["looks"][slots]
        is_news = is_new | moves | (agrees & (looks == BEHIND_LOOKS))
        is_news |= np.abs(level_s - columns["told_s"][slots]) > NEWS_S
        columns["told_s"][slots] = np.where(is_news, level_s, columns["told_s"][slots])
        return slots[is_news]

    def count_off(self, right_s: float) -> tuple[int, int]:
        """How many clocks are off by more than that, and how many devices have none."""
        columns = self.columns
        none = columns["untimed"] > columns["timed"]
        off = ~none & (np.abs(columns["level_s"]) > right_s)
        return int(off.sum()), int(none.sum())

    def view(self, slot: int) -> ClockView:
        """What is known of one clock; before the first look is complete, what it shows so far."""
        here = {name: float(column[slot]) for name, column in self.columns.items()}
        is_open = np.isnan(here["level_s"]) or (here["level_s"] > FANCIFUL_S >= here["best_s"] > -np.inf)
        offset_s = here["best_s"] if is_open else here["level_s"]
        return ClockView(
            offset_s=offset_s if np.isfinite(offset_s) else None,
            looks=0 if is_open else int(here["looks"]),
            moved_at_s=here["moved_at_s"] if np.isfinite(here["moved_at_s"]) else None,
            moved_by_s=here["moved_by_s"],
            is_clockless=here["untimed"] > here["timed"],
        )


def _greatest(offsets_s: Floats, starts: Slots) -> Floats:
    """The greatest of each run that is not fanciful; of nothing else, the greatest."""
    greatest_s = np.maximum.reduceat(offsets_s, starts)
    if not (greatest_s > FANCIFUL_S).any():
        return greatest_s
    plain_s = np.maximum.reduceat(np.where(offsets_s > FANCIFUL_S, -np.inf, offsets_s), starts)
    return np.where(np.isfinite(plain_s), plain_s, greatest_s)


def _greater(one_s: Floats, other_s: Floats) -> Floats:
    """The same of two; minus infinity is nothing."""
    greater_s, less_s = np.maximum(one_s, other_s), np.minimum(one_s, other_s)
    return np.where((greater_s > FANCIFUL_S) & (less_s <= FANCIFUL_S) & np.isfinite(less_s), less_s, greater_s)
