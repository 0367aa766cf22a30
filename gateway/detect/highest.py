"""How high chance takes a level: by the highest ones of the spans since a device has been known.

Of each span the highest level is kept. Spans are some rows long at first, enough that one says little of the next, and
grow with what is known to a day each; of these the last 32 are kept. Their mean and their spread say how high a level
comes once in so long a time (Gumbel's distribution of maxima). A device has two levels, judged side by side: lanes of
each field.

Only basic operations, so that ``native/unlike.c`` has the same to the last bit.
"""

from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Mask
from gateway.detect.exact import log_of
from gateway.detect.table import Field, Rows
from gateway.detect.taken_together import DAY_S

LEVELS: Final = 2
HIGHS: Final = 32  # spans of which the highest level is kept,…
FIRST_SPAN: Final = 64.0  # …rows long at first, and a day at last
FEWEST_HIGHS: Final = 6
GUMBEL: Final = 0.78  # spreads of the highest levels that their logarithm of rarity goes up by: √6/π
EULER: Final = 0.5772
UNSURE: Final = 4.0  # by so much over their number their spread is taken for wider,…
LEAST_SWING: Final = 0.1  # …and for this share of their mean at least
LEAST_BAR: Final = 1.0
CALM: Final = 0.3  # of the way from the usual highest level to the bar

HIGHEST: Final = (
    Field("block_since_s", group="row"),  # since when the present span
    Field("level", "f4", lanes=LEVELS, group="row"),  # the latest ones
    Field("bar", "f4", lanes=LEVELS, group="row"),
    Field("top", "f4", lanes=LEVELS, group="row"),  # mean of the highest levels
    Field("swing", "f4", lanes=LEVELS, group="row"),  # their spread
    Field("peak", "f4", lanes=LEVELS, group="row"),  # highest level of the present span; 0 for none
    Field("highs", "f4", lanes=LEVELS * HIGHS, group="row"),  # of one level, then of the other
    Field("block_s", "f4", group="row"),  # length of a span
    Field("kept", "f4", group="row"),  # highest levels that are kept of each
    Field("next", "f4", group="row"),  # where the next one is kept
)


def bars_of(state: Rows, every_s: Floats) -> Floats:
    """The levels that chance reaches once in `every_s`, [levels, n], by the highest ones so far; infinite at first."""
    top, swing = (state.lanes(name).astype(np.float64) for name in ("top", "swing"))
    kept, block_s = (state[name].astype(np.float64) for name in ("kept", "block_s"))
    spans = np.maximum(every_s / np.where(block_s > 0.0, block_s, 1.0), 2.0)
    rarity = GUMBEL * (log_of(spans) - EULER) * (1.0 + UNSURE / np.maximum(kept, 1.0))
    bars = np.maximum(top + rarity * np.maximum(swing, LEAST_SWING * top), LEAST_BAR)
    return np.where(kept >= FEWEST_HIGHS, bars, np.inf)


def follow_span(state: Rows, levels: Floats, ts_s: Floats, is_up: Mask) -> None:
    """Take levels into the present span, and keep its highest ones when it is over; none while an alarm is up."""
    first = state["block_s"] == 0.0
    state["block_s"] = np.where(first, FIRST_SPAN * state["gap_s"].astype(np.float64), state["block_s"])
    since_s = np.where(first, ts_s, state["block_since_s"])
    peaks = state.lanes("peak")
    peaks = np.where(is_up, peaks, np.maximum(peaks, levels))
    over = ~(ts_s - since_s < state["block_s"])
    state["block_since_s"] = np.where(over, ts_s, since_s)
    state.set_lanes("peak", peaks)
    highs = np.flatnonzero(over & (peaks[0] > 0.0))
    if len(highs):
        some = state.at(highs)
        _keep_highs(some)
        some.flush()
    state.set_lanes("peak", np.where(over, 0.0, peaks))


def _keep_highs(state: Rows) -> None:
    """Keep the highest levels of a span that is over; short spans become longer ones, up to a day."""
    count, block_s = len(state), state["block_s"].astype(np.float64)
    highs = state.lanes("highs").reshape(LEVELS, HIGHS, count).copy()
    kept, following = state["kept"].astype(np.int64), state["next"].astype(np.int64)
    double = (kept == HIGHS) & (block_s < DAY_S)
    pairs = np.maximum(highs[:, 0::2], highs[:, 1::2])
    highs[:, : HIGHS // 2] = np.where(double, pairs, highs[:, : HIGHS // 2])
    kept = np.where(double, HIGHS // 2, kept)
    following = np.where(double, HIGHS // 2, following % HIGHS)
    state["block_s"] = np.where(double, 2.0 * block_s, block_s)
    highs[:, following, np.arange(count)] = state.lanes("peak")
    kept = np.minimum(kept + 1, HIGHS)
    total, squares = np.zeros((LEVELS, count)), np.zeros((LEVELS, count))
    for at in range(HIGHS):
        total = np.where(kept > at, total + highs[:, at].astype(np.float64), total)
    top = total / kept
    for at in range(HIGHS):
        away = highs[:, at].astype(np.float64) - top
        squares = np.where(kept > at, squares + away * away, squares)
    state["kept"], state["next"] = kept, following + 1
    state.set_lanes("top", top)
    state.set_lanes("swing", np.sqrt(squares / kept))
    state.set_lanes("highs", highs.reshape(LEVELS * HIGHS, count))
