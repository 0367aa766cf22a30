"""When a connection is to begin anew, because the broker was not read for a while."""

import math
from collections.abc import Sequence
from typing import Final

from gateway.intake import Alike, Verdict

LOOK_S: Final = 1.0
LATEST_S: Final = 30.0
APART_S: Final = 300.0
"""The least time between two of them: a fleet that sends all at once each minute costs no connection a minute."""
DOUBLED: Final = 9
"""So often the wait is doubled at most: by then it is longer than that time."""
WITHIN_S: Final = 10.0
"""How long what was read by then may take to be settled and acknowledged; what is not comes again."""

MANY: Final = 100
"""So many messages at the beginning of a connection are more than what was under way when the last one ended."""

IN_VAIN: Final = 5
"""So many connections in a row, each after twice the wait, that bring no less than was acknowledged before."""

NOT_TAKEN: Final = "the broker does not take acknowledgements: the same messages come again and again"
WHY: Final = "careloop had to stop reading, and asks for what the broker may have put off"


class Renewal:
    """Asks for a new connection once what came after a pause is settled, or no other pause has come for some time.

    A broker that cannot send may give packets up that it counts as sent: Mosquitto does with more than
    `max_queued_messages` of them (mosquitto.conf(5)), 1,000 unless it is told otherwise. They are still in our session,
    not acknowledged, and come on the next connection and not before. We cannot see whether there are any.
    Nor does it send more of them at once on that connection: what does not fit is put off again. So where a connection
    begins with many messages that were sent before, another one follows, each after twice the wait of the one before: a
    broker that is slow to read our acknowledgements sends everything again each time.
    What was put off never reached us. What came before and was acknowledged, all of it, before we left, comes again
    only from a broker that has not taken the acknowledgements. Connecting anew is then no help but to one that is slow.
    One serves all connections of a subscription.
    """

    __slots__ = (
        "_again",
        "_again_s",
        "_comes_back",
        "_has_new",
        "_in_vain",
        "_is_left",
        "_known",
        "_least",
        "_looked_at",
        "_paused_s",
        "_renewed_s",
        "_times",
    )

    def __init__(self) -> None:
        self._paused_s: float | None = None
        self._again_s: float | None = None
        self._again = self._times = 0  # messages that began the connection; connections in a row that began with many
        self._has_new = False
        self._renewed_s = -math.inf
        self._known = self._looked_at = 0  # of the packets settled on this connection, the first ones
        self._is_left = self._comes_back = False  # all acknowledged: now, and before this connection
        self._least, self._in_vain = math.inf, 0

    @property
    def is_in_vain(self) -> bool:
        """Whether what was acknowledged comes again on one connection after the other, and does not get less."""
        return self._in_vain >= IN_VAIN and self._again >= MANY

    @property
    def is_stuck(self) -> bool:
        """Whether nothing else comes."""
        return self.is_in_vain and not self._has_new

    @property
    def is_wanted(self) -> bool:
        """Whether there was a pause on this connection, or it began with much that was sent before."""
        return self._paused_s is not None or self._again_s is not None

    def begin(self) -> None:
        """A connection begins, for whatever reason: what was put off comes on it."""
        self._times = self._times + 1 if self._again >= MANY else 0
        if self._again < MANY:
            self._least, self._in_vain = math.inf, 0
        self._paused_s = self._again_s = None
        self._again, self._has_new = 0, False
        self._known = self._looked_at = 0
        self._comes_back, self._is_left = self._is_left, False

    def came(self, now_s: float, count: int, again: int) -> None:
        """So many messages came, some of them again: those before the first new one are what was put off."""
        if again and not self._has_new:
            self._again += again
            self._again_s = now_s if self._again >= MANY else None
        self._has_new = self._has_new or again < count

    def paused(self, now_s: float) -> None:
        """The broker is not read, for the pipeline has no room; `now_s` on a clock that does not jump."""
        self._paused_s = now_s

    def settled(self, verdicts: Sequence[Verdict]) -> None:
        """Packets of this connection are settled: which of those that came again had been stored before."""
        if self._looked_at < self._again:
            self._looked_at += len(verdicts)
            self._known += _known(verdicts)

    def renewed(self, now_s: float, *, is_calm: bool = False) -> None:
        """What it asked for is done; `is_calm`: all that came on this connection is acknowledged."""
        if self._comes_back and self._known < MANY:
            self._least, self._in_vain = math.inf, 0
        elif self._comes_back:
            self._in_vain = 0 if self._known < self._least else self._in_vain + 1
            self._least = min(self._least, self._known)
        self._is_left = is_calm
        self._paused_s, self._again_s, self._renewed_s = None, None, now_s

    def is_due(self, now_s: float, *, is_calm: bool) -> bool:
        """Whether to connect anew now; `is_calm`: the broker is read, and all that came is settled."""
        if is_calm and self._again_s is not None:
            since_s = max(self._again_s, self._paused_s or 0.0)
            return now_s - since_s >= min(LOOK_S * 2 ** min(self._times, DOUBLED), APART_S)
        if self._paused_s is None or now_s - self._renewed_s < APART_S:
            return False
        return now_s - self._paused_s >= (LOOK_S if is_calm else LATEST_S)


def _known(verdicts: Sequence[Verdict]) -> int:
    """How many of the packets brought nothing new."""
    if isinstance(verdicts, Alike):
        return len(verdicts) * _is_known(verdicts.verdict)
    return sum(map(_is_known, verdicts))


def _is_known(verdict: Verdict) -> bool:
    return verdict.duplicates > 0 and not verdict.stored and not verdict.filled
