"""One step of a surge: a completed hour of use, compared with the habit and with what a companion explains."""

from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask, Numbers
from gateway.detect.detector import Batch, Peers
from gateway.detect.drain import DRAIN, TALLIES
from gateway.detect.drift import wide
from gateway.detect.episodes import Phase
from gateway.detect.exact import exp_of, log_of
from gateway.detect.kinds import LearntKind
from gateway.detect.lag import EASED, follow_lag, log_ratio
from gateway.detect.table import Rows

HOUR_S: Final = 3600.0
BINS: Final = TALLIES  # parts of a day, in the habit; before there is one, tallies of values take its place
BIN_HOURS: Final = 3.0
WINDOW_DAYS: Final = 0.6  # of usual use, that a judgement looks back over
MEMORY_DAYS: Final = 30.0
SUNDAY: Final = 0.0
SATURDAY: Final = 6.0
WEEKEND_RATE: Final = 0.15  # of the newest day of a weekend, once some are known
MOST_WEEKEND: Final = 3.0
JUDGED_FROM_DAY: Final = 2.0
PAIRED_FROM_DAY: Final = 2.0
COMPARED_FROM_DAY: Final = 3.0
PRIOR_USES: Final = 3.0  # typical uses, as if they were there and usual: three events say less than three hundred
PRIOR_SPREAD: Final = 0.06  # square of a swing, before any is known
LEAST_SPREAD: Final = 0.005
PRIOR_SPREAD_DAYS: Final = 5.0
LARGE: Final = 4.0  # typical uses, as which a larger one weighs in what is typical
MOST_BUSY: Final = 14.0  # hours of a day: what is "used" for longer is what is left when nothing is done
ALIKE: Final = 0.4  # least square of the correlation of two habits over the day
MOST_SWINGS: Final = 2.5
MOST_LEARNT: Final = 1.0  # of a logarithm that is learnt from
PRIOR_ALONG: Final = 0.12  # as if a companion had shared eight parts of ten
PRIOR_ALONE: Final = 0.15
ALONG_GAIN: Final = 0.3
MOST_ALONG: Final = 1.5
LEAST_SHARED: Final = -0.3  # a lazy week makes nothing stand out that goes on as usual, where nobody asked for it
DOUBT: Final = 0.05  # of the square of what is shared: the further, the less exactly
ECHO_H: Final = 48.0  # so long after one amount's surge is over, another's is still the same trouble
LOST_H: Final = 72.0  # without the companion, after which a series is judged alone again
OUTLIER: Final = 4.0  # a learnt hour counts at most as so many usual ones
RIPE_DAYS: Final = 7.0
SLOW: Final = 0.05  # pace of learning while the alarm is up: or the fault becomes the habit
DOUBTFUL: Final = 0.3  # pace while a surge is well on its way
DOUBTED: Final = 0.5  # of the evidence: no further before the habit is known
CALM: Final = 0.15  # logarithm of a ratio that is usual again
LONGEST_GAP_H: Final = 24.0
SWINGS: Final = 1.1  # beyond which a ratio adds up
EVIDENCE: Final = 1.7  # swings times days
DRAIN_SWINGS: Final = 1.5
DRAIN_EVIDENCE: Final = 0.6
RISE: Final = 0.3  # least excess, as a share of what is expected
DRAIN_RISE: Final = 0.6  # a day out on the road takes half as much again
ALONE: Final = 2.0  # times the evidence, without a companion
OFTEN: Final = 4.0  # typical uses a day: of what is used more seldom, a few uses on end are no surge…
SELDOM: Final = 3.0  # …and this many times the evidence at most is asked for
SHARED: Final = 2.0  # times the evidence, where half of the device's other amounts…
RISEN: Final = 0.5  # …have risen by this part of the logarithm, or more…
RISES_FROM_DAY: Final = 4.0  # …and have been known for so long


class Step:
    """The judgement of completed hours: one step of each series."""

    def __init__(self, state: Rows, batch: Batch, done: Indices, hours: tuple[Floats, Floats, Floats]) -> None:
        self._state = state
        self._told = {name: np.broadcast_to(batch.parameter(name), len(batch.ts_s))[done] for name in _TOLD}
        self._hour, self._use, self._kind = hours
        self._firing = batch.firing[done]
        assert batch.peers is not None
        self._peers = batch.peers.some(done)
        self._lane = _lane_of(self._hour)
        day = np.floor(self._hour / 24.0) + 4.0  # 1 January 1970 was a Thursday
        day -= 7.0 * np.floor(day / 7.0)
        self._rests = ((day == SUNDAY) | (day == SATURDAY)) & (self._kind != DRAIN)
        weekend = wide(state, "weekend")
        self._factor = np.where(self._rests, weekend, (7.0 - 2.0 * weekend) / 5.0)
        before = wide(state, "done")
        spans = (self._kind >= LearntKind.COUNTER) & np.isfinite(before)
        self._span = np.where(spans, self._hour - before, 1.0)  # hours that the use was made in
        self._new_day = np.floor(self._hour / 24.0) != np.floor(before / 24.0)

    def judge(self) -> tuple[Mask, Mask, Floats, Floats]:
        """Breach, calm, score and beginning, [n] each."""
        state, told, days = self._state, self._told, wide(self._state, "days")
        there = np.isfinite(self._use) & (self._span <= LONGEST_GAP_H)
        use, span = np.where(there, self._use, 0.0), np.where(there, self._span, 1.0)
        lanes = state.lanes("usual").astype(np.float64)
        usual = self._expect(lanes, use, span)
        usual = np.where(there, usual, 0.0)
        whole = whole_day(lanes)
        weight = np.where(whole > 0, np.minimum(usual / np.where(whole > 0, whole, 1.0), 1.0), 0.0)

        pair, has, seen = self._pair(there & (span == 1.0), there)
        ratio, beside = self._compare(use, usual, pair, (weight, seen))
        along, alone = wide(state, "along"), wide(state, "alone")
        part = np.minimum(np.maximum(along / alone, 0.0), MOST_ALONG)
        least = np.where(np.isnan(told["per"]), LEAST_SHARED, -np.inf)
        shared = np.where(has, np.maximum(part * beside, least), 0.0)
        known = seen & (days >= JUDGED_FROM_DAY) & (wide(state, "recent_usual") > 0)
        excess = np.where(known, ratio - shared, 0.0)
        spread = wide(state, "spread")
        width = np.sqrt(spread + LEAST_SPREAD + DOUBT * np.where(has, beside * beside, 0.0))
        breach, calm, score, pace = self._weigh((ratio, excess, part), (known, has), (width, weight, whole))
        self._learn_habit(lanes, (use, span, usual, whole), pace, there)
        self._learn_swing(excess, spread, np.where(known, weight * pace, 0.0))
        self._learn_pair((ratio, beside, use, pair), (along, alone), (has & known, weight, pace))
        self._close(there)
        run = wide(state, "run")
        began_s = np.where(np.isfinite(run), run, self._hour) * HOUR_S
        return breach, calm, score, began_s

    def _weigh(
        self,
        beyond: tuple[Floats, Floats, Floats],
        judged: tuple[Mask, Mask],
        measures: tuple[Floats, Floats, Floats],
    ) -> tuple[Mask, Mask, Floats, Floats]:
        """Add the hour to the evidence of a surge, or of a fall; breach, calm, score, and the pace of learning."""
        (ratio, excess, part), (known, has), (width, weight, whole) = beyond, judged, measures
        state, told, drains = self._state, self._told, self._kind == DRAIN
        swings = np.minimum(np.maximum(excess / width, -MOST_SWINGS), MOST_SWINGS)
        signed = wide(state, "surge")
        before = np.maximum(signed, 0.0)
        normal = _or_else(told["swings"], np.where(drains, DRAIN_SWINGS, SWINGS))
        surge = np.where(known, np.maximum(before + (swings - normal) * weight, 0.0), before)
        seldom = self._seldom(whole)
        amounts = np.where(has, EVIDENCE, ALONE * EVIDENCE) * seldom
        bar = _or_else(told["evidence"], np.where(drains, DRAIN_EVIDENCE, amounts))
        rise = _or_else(told["rise"], np.where(drains, DRAIN_RISE, RISE))
        ripe = wide(state, "days") > told["habit"]
        surge = np.where(ripe, surge, np.minimum(surge, DOUBTED * bar))
        compared = known & has & (self._kind <= LearntKind.COUNTER) & (told["falls"] == 1.0)
        lag = follow_lag(state, (known, compared), part, (width, weight, seldom))
        depth = np.where(ripe, lag.depth, np.minimum(lag.depth, DOUBTED * lag.bar))
        falls = np.where(self._firing, signed < 0, depth > surge)
        surges = known & (surge > bar) & (excess > log_of(1.0 + rise))
        asked = surges & (surge < SHARED * bar) & (told["alone"] == 1.0)
        surges = surges & ~self._rise_too(ratio, asked)
        wrong = ripe & np.where(falls, lag.is_wrong(compared), surges)
        breach = wrong & (self._firing | ~self._is_told_of())
        calm = self._firing & np.where(falls, lag.is_calm(known), known & (excess < CALM))
        begins = np.where(falls, (-signed <= EASED) & (depth > EASED), (signed <= 0) & (surge > 0))
        run = np.where(begins, self._hour, wide(state, "run"))
        evidence, most = np.where(falls, depth, surge), np.where(falls, lag.bar, bar)
        score = np.where(breach | (self._firing & ~calm), evidence / (evidence + most), 0.0)
        doubtful = evidence > DOUBTED * most
        eased = np.where(self._firing & falls, EASED, 0.0)
        evidence = np.maximum(np.where(calm, 0.0, evidence), eased)
        state["surge"], state["run"] = np.where(falls, -evidence, evidence), run

        pace = np.where(self._firing | wrong, SLOW, np.where(doubtful, DOUBTFUL, 1.0))
        return breach, calm, score, pace

    def _seldom(self, whole: Floats) -> Floats:
        """How many times the evidence is asked for, where a day sees a few uses only."""
        times = OFTEN * wide(self._state, "typical") / np.where(whole > 0, whole, 1.0)
        return np.sqrt(np.minimum(np.maximum(times, 1.0), SELDOM * SELDOM))

    def _is_told_of(self) -> Mask:
        """Whether another amount's surge is up or was lately, where those of a device are one alarm."""
        state, peers = self._state, self._peers
        told_hour = wide(state, "told_hour")
        alone = (self._told["alone"] == 1.0) & (self._kind <= LearntKind.COUNTER)
        if alone.any():
            slots = peers.slots
            at = np.maximum(slots, 0)
            up: Mask = peers.table.column("phase")[at] >= Phase.ACTIVE
            # A battery's drain is a trouble of its own.
            others = (
                (slots >= 0) & (slots != state.index[:, None]) & (peers.table.column("kind")[at] <= LearntKind.COUNTER)
            )
            told_hour = np.where(alone & (up & others).any(axis=1), self._hour, told_hour)
            state["told_hour"] = told_hour
        return alone & (self._hour - told_hour < ECHO_H)

    def _rise_too(self, ratio: Floats, asked: Mask) -> Mask:
        """Whether half of a device's other amounts have risen half as far: its owner does more of everything."""
        chosen = np.flatnonzero(asked & ~self._firing & (self._kind <= LearntKind.COUNTER))
        risen_too = np.zeros(len(asked), np.bool_)
        if not len(chosen):
            return risen_too
        slots = self._peers.slots[chosen]
        row, column = np.nonzero((slots >= 0) & (slots != self._state.index[chosen][:, None]))
        its = self._peers.rows(slots[row, column])
        typical = wide(its, "typical")
        counts = (its["kind"] <= LearntKind.COUNTER) & (its["days"] >= RISES_FROM_DAY) & (typical > 0)
        busy = whole_day(its.lanes("usual")) / np.where(typical > 0, typical, 1.0)
        counts &= ~(busy > MOST_BUSY)
        prior = PRIOR_USES * typical
        times = log_ratio(wide(its, "recent_use") + prior, wide(its, "recent_usual") + prior)
        others = np.bincount(row, weights=counts, minlength=len(chosen))
        risen = np.bincount(row, weights=counts & (times > RISEN * ratio[chosen][row]), minlength=len(chosen))
        risen_too[chosen] = (risen > 0) & (2 * risen >= others)
        return risen_too

    def _expect(self, lanes: Floats, use: Floats, span: Floats) -> Floats:
        """Usual use in the hours that this use was made in; the use itself where no habit is known yet."""
        usual = np.zeros(len(use))
        for back in range(int(span.max())):
            lane = _lane_of(self._hour - back)
            rate = lanes[lane, np.arange(len(use))]
            usual = np.where(back < span, usual + np.where(np.isnan(rate), use / span, rate * self._factor), usual)
        return usual

    def _pair(self, whole: Mask, there: Mask) -> tuple[Floats, Mask, Mask]:
        """The companion's use in whole hours; whether the series is compared with it, and whether it is judged.

        What is compared is judged by hours that both cover, until the companion is lost.
        """
        state = self._state
        pair = np.where(whole, self._companion(), np.nan)
        met, lost = np.isfinite(pair), wide(state, "lost")
        compared = (state["per"] != 0) & (state["beside"] > 0) & (lost <= LOST_H)
        state["lost"] = np.where(met, 0.0, np.minimum(lost + 1.0, 1e6))
        return pair, compared & met & (state["days"] >= COMPARED_FROM_DAY), there & (met | ~compared)

    def _compare(self, use: Floats, usual: Floats, pair: Floats, how: tuple[Floats, Mask]) -> tuple[Floats, Floats]:
        """Logarithms of lately over habit, one's own and as the companion has it."""
        state, (weight, seen) = self._state, how
        fade = exp_of(-weight / WINDOW_DAYS)
        own, beside = wide(state, "own"), wide(state, "beside")
        rate = own / np.where(beside > 0, beside, 1.0)
        expected = np.where(np.isfinite(pair) & (beside > 0), pair * rate, usual)
        lately: list[Floats] = []
        for name, more in (("recent_use", use), ("recent_usual", usual), ("recent_beside", expected)):
            before = wide(state, name)
            lately.append(np.where(seen, before * fade + more, before))
            state[name] = lately[-1]
        prior = PRIOR_USES * wide(state, "typical")
        scale = lately[1] + prior
        return log_ratio(lately[0] + prior, scale), log_ratio(lately[2] + prior, scale)

    def _companion(self) -> Floats:
        """The companion's use in the completed hour; NaN where it is not known."""
        state, peers = self._state, self._peers
        told = self._told["per"]
        per = np.where(np.isnan(told), state["per"].astype(np.float64), told)
        if self._told["pairs"].any():
            wanted = (per == 0) & (self._told["pairs"] > 0) & self._new_day & (self._kind <= LearntKind.COUNTER)
            wanted &= state["days"] >= PAIRED_FROM_DAY
            for one in np.flatnonzero(wanted):  # once in a device's life
                per[one] = _choose(peers, int(one), int(state.index[one]))
        state["per"] = per
        found = np.flatnonzero(per != 0)
        use = np.full(len(per), np.nan)
        slots = peers.find(found, per[found])
        there = np.flatnonzero(slots >= 0)
        if len(there):
            rows, at = peers.rows(slots[there]), found[there]
            hour = self._hour[at]
            open_use = np.where(rows["kind"] == LearntKind.DELTA, wide(rows, "use"), np.nan)
            step = hour - wide(rows, "done")
            counted = (rows["kind"] == LearntKind.COUNTER) | (rows["kind"] == DRAIN)
            open_use = np.where(counted & (step == 1.0), wide(rows, "use"), open_use)
            done_use = np.where(rows["done"] == hour, wide(rows, "done_use"), np.nan)
            use[at] = np.where(rows["hour"] == hour, open_use, done_use)
        return use

    def _learn_habit(
        self, lanes: Floats, hours: tuple[Floats, Floats, Floats, Floats], pace: Floats, there: Mask
    ) -> None:
        use, span, usual, whole = hours
        state, each, days = self._state, np.arange(len(use)), wide(self._state, "days")
        rate = np.maximum(1.0 / (days + 1.0), 1.0 / MEMORY_DAYS) * pace
        most = OUTLIER * np.maximum(usual / span, whole / 24.0)
        lesson = np.where(days >= RIPE_DAYS, np.minimum(use / span, most), use / span)
        known = lanes[self._lane, each]
        factor = self._factor
        step = rate / BIN_HOURS * (factor * (lesson - factor * known))
        # A young habit moves far, and a weekend that it is divided by may be large: use is never less than none.
        moved = np.where(np.isnan(known), lesson, np.maximum(known + step, 0.0))
        lanes[self._lane, each] = np.where(there, moved, known)
        state.set_lanes("usual", lanes)
        weekend = wide(state, "weekend")
        rate = np.maximum(1.0 / (days * (2.0 / 7.0) + 1.0), WEEKEND_RATE) * pace
        tells = there & self._rests & (whole > 0)
        missed = np.where(tells, (lesson * span - usual) / np.where(tells, whole, 1.0), 0.0)
        state["weekend"] = np.minimum(np.maximum(weekend + rate * missed, 0.0), MOST_WEEKEND)
        typical = wide(state, "typical")
        used = there & (lesson > 0)
        rate = np.where(used, np.maximum(1.0 / (days * 4.0 + 1.0), 0.01), 0.0) * pace
        # Large uses weigh more: they are most of the use.
        size = np.where(typical > 0, np.minimum(lesson / np.where(typical > 0, typical, 1.0), LARGE), 1.0)
        state["typical"] = typical + np.minimum(rate * size, 1.0) * (lesson - typical)

    def _learn_swing(self, excess: Floats, spread: Floats, weight: Floats) -> None:
        clipped = np.minimum(np.maximum(excess, -MOST_LEARNT), MOST_LEARNT)
        days = wide(self._state, "days")
        rate = np.minimum(np.maximum(1.0 / (days + PRIOR_SPREAD_DAYS), 1.0 / MEMORY_DAYS) * weight, 1.0)
        self._state["spread"] = spread + rate * (clipped * clipped - spread)

    def _learn_pair(
        self,
        lately: tuple[Floats, Floats, Floats, Floats],
        shares: tuple[Floats, Floats],
        weights: tuple[Mask, Floats, Floats],
    ) -> None:
        """How the companion's use goes with one's own, and how much of the swings the two share."""
        (ratio, beside, use, pair), (along, alone), (telling, weight, pace) = lately, shares, weights
        state, weight = self._state, weight * pace
        fade = exp_of(-weight / MEMORY_DAYS)
        mine = np.minimum(np.maximum(ratio, -MOST_LEARNT), MOST_LEARNT)
        its = np.minimum(np.maximum(beside, -MOST_LEARNT), MOST_LEARNT)
        state["along"] = np.where(telling, along * fade + ALONG_GAIN * weight * (mine * its), along)
        state["alone"] = np.where(telling, alone * fade + ALONG_GAIN * weight * (its * its), alone)
        paired = np.isfinite(pair)
        own, other = wide(state, "own"), wide(state, "beside")
        state["own"] = np.where(paired, own * fade + use * pace, own)
        state["beside"] = np.where(paired, other * fade + np.where(paired, pair, 0.0) * pace, other)

    def _close(self, there: Mask) -> None:
        state = self._state
        state["done_use"] = np.where(there & (self._span == 1.0), self._use, np.nan)
        state["done"] = self._hour
        state["days"] = state["days"] + self._new_day
        state.flush()


_TOLD: Final = ("rise", "evidence", "swings", "habit", "pairs", "per", "alone", "falls")


def _choose(peers: Peers, one: int, own: int) -> float:
    """The companion of a series: the device's other amount whose habit is most like its own; 0 for none."""
    best, chosen = 0.0, 0
    mine = peers.rows(np.array([own])).lanes("usual")
    for slot, code in zip(peers.slots[one].tolist(), peers.codes.tolist(), strict=True):
        if slot < 0 or slot == own:
            continue
        row = peers.rows(np.array([slot]))
        typical = float(row["typical"][0])
        if row["kind"][0] > LearntKind.COUNTER or row["days"][0] < PAIRED_FROM_DAY - 1.0 or not typical > 0:
            continue
        its = row.lanes("usual")
        alike = _likeness(mine, its)
        if float(whole_day(its)[0]) / typical > MOST_BUSY or not alike >= ALIKE:
            continue
        if alike > best or (alike == best and chosen and code < chosen):
            best, chosen = alike, code
    return float(chosen)


def _likeness(mine: Numbers, its: Numbers) -> float:
    """How much two habits, [BINS, 1] each, rise and fall over the day together.

    The square of their correlation, 0 where it is negative.
    """
    own, other = (float(whole_day(lanes)[0]) / 24.0 for lanes in (mine, its))
    both = squares = its_squares = 0.0
    for up, beside in zip(np.nan_to_num(mine[:, 0]).tolist(), np.nan_to_num(its[:, 0]).tolist(), strict=True):
        both += (up - own) * (beside - other)
        squares += (up - own) * (up - own)
        its_squares += (beside - other) * (beside - other)
    return both * both / (squares * its_squares) if both > 0 else 0.0


def whole_day(lanes: Numbers) -> Floats:
    """Usual use of a day, [n], added up in order: so the order is no accident."""
    total = np.zeros(lanes.shape[1])
    for lane in lanes.astype(np.float64):
        total = total + np.where(np.isnan(lane), 0.0, lane)
    return total * BIN_HOURS


def _lane_of(hour: Floats) -> Indices:
    lane = np.floor((hour - 24.0 * np.floor(hour / 24.0)) / BIN_HOURS)
    return np.where((lane >= 0) & (lane < BINS), lane, 0.0).astype(np.int64)


def _or_else(told: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(told), otherwise, told)
