"""How many a day, for a few ways in which things might have gone, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.pictures.canvas import LINE, OTHER, SOFT, UNKNOWN, Axes
from gateway.pictures.series import DAY_S, format_days

COLOURS: Final = (UNKNOWN, LINE, OTHER)
MOST_BARS: Final = 120
WEEK_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class DaysPanel:
    """Counts a day, or a week where there are many days."""

    what: str
    span_s: tuple[float, float]
    told: Mapping[str, Sequence[float]]  # by name, when each happened
    words: Sequence[str] = ()

    def draw(self, axes: Axes) -> None:
        """Draw a group of bars for each day."""
        first_s, last_s = (at_s // DAY_S * DAY_S for at_s in self.span_s)
        days = int((last_s - first_s) // DAY_S) + 1
        width = 1 if days <= MOST_BARS else WEEK_DAYS
        edges = first_s / DAY_S + np.arange(0, days + width, width)
        share = 0.8 * width / max(len(self.told), 1)
        for number, ((name, times), colour) in enumerate(zip(self.told.items(), COLOURS, strict=False)):
            counts, _ = np.histogram(np.array(times) / DAY_S, edges)
            at = edges[:-1] + 0.1 * width + share * number
            axes.bar(at, counts, share, align="edge", color=colour, label=f"{name}: {len(times):,}", zorder=3)
        axes.set_title(f"{self.what} a {'day' if width == 1 else 'week'}")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        axes.xaxis.grid(visible=False)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.xaxis.axis_date()
        format_days(axes)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, labelcolor=SOFT)
