"""When a connection is to begin anew, because the broker was not read for a while."""

import math
from typing import Final

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

WHY: Final = "careloop had to stop reading, and asks for what the broker may have put off"


class Renewal:
    """Asks for a new connection once what came after a pause is settled, or no other pause has come for some time.

    A broker that cannot send may give packets up that it counts as sent: Mosquitto does with more than
    `max_queued_messages` of them (mosquitto.conf(5)), 1,000 unless it is told otherwise. They are still in our session,
    not acknowledged, and come on the next connection and not before. We cannot see whether there are any.
    Nor does it send more of them at once on that connection: what does not fit is put off again. So where a connection
    begins with many messages that were sent before, another one follows, each after twice the wait of the one before: a
    broker that is slow to read our acknowledgements sends everything again each time.
    One serves all connections of a subscription.
    """

    __slots__ = ("_again", "_again_s", "_has_new", "_paused_s", "_renewed_s", "_times")

    def __init__(self) -> None:
        self._paused_s: float | None = None
        self._again_s: float | None = None
        self._again = self._times = 0  # messages that began the connection; connections in a row that began with many
        self._has_new = False
        self._renewed_s = -math.inf

    @property
    def is_wanted(self) -> bool:
        """Whether there was a pause on this connection, or it began with much that was sent before."""
        return self._paused_s is not None or self._again_s is not None

    def begin(self) -> None:
        """A connection begins, for whatever reason: what was put off comes on it."""
        self._times = self._times + 1 if self._again >= MANY else 0
        self._paused_s = self._again_s = None
        self._again, self._has_new = 0, False

    def came(self, now_s: float, count: int, again: int) -> None:
        """So many messages came, some of them again: those before the first new one are what was put off."""
        if again and not self._has_new:
            self._again += again
            self._again_s = now_s if self._again >= MANY else None
        self._has_new = self._has_new or again < count

    def paused(self, now_s: float) -> None:
        """The broker is not read, for the pipeline has no room; `now_s` on a clock that does not jump."""
        self._paused_s = now_s

    def renewed(self, now_s: float) -> None:
        """What it asked for is done."""
        self._paused_s, self._again_s, self._renewed_s = None, None, now_s

    def is_due(self, now_s: float, *, is_calm: bool) -> bool:
        """Whether to connect anew now; `is_calm`: the broker is read, and all that came is settled."""
        if is_calm and self._again_s is not None:
            since_s = max(self._again_s, self._paused_s or 0.0)
            return now_s - since_s >= min(LOOK_S * 2 ** min(self._times, DOUBLED), APART_S)
        if self._paused_s is None or now_s - self._renewed_s < APART_S:
            return False
        return now_s - self._paused_s >= (LOOK_S if is_calm else LATEST_S)
