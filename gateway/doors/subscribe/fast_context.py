"""What all connections of a subscription share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.doors.mqtt.native import CutMixed
from gateway.doors.settings import SubscribeSettings
from gateway.doors.sparing import Log
from gateway.doors.subscribe.renewal import Renewal
from gateway.doors.subscribe.topics import RememberedTopics
from gateway.intake import Intake


@dataclass(slots=True)
class Counters:
    """What all connections of a subscription have seen together."""

    received: int = 0
    settled: int = 0
    redelivered: int = 0
    acknowledged: int = 0
    too_late: int = 0

    @property
    def unsettled(self) -> int:
        """Packets that the pipeline has now."""
        return self.received - self.settled


@dataclass(frozen=True, slots=True)
class FastContext:
    """What every connection of a subscription is given."""

    settings: SubscribeSettings
    credentials: tuple[str, str] | None
    topic_filters: Sequence[str]
    topics: RememberedTopics
    intake: Intake
    now_s: Callable[[], float]
    log: Log
    on_settled: Callable[[], None]
    cut: CutMixed | None
    counters: Counters = field(default_factory=Counters)
    renewal: Renewal = field(default_factory=Renewal)

    @property
    def is_much_unsettled(self) -> bool:
        """Whether the pipeline has so much of ours that no more must come.

        One receive maximum is what MQTT 5 lets a broker send; another may be left from a connection that was lost.
        """
        return self.counters.unsettled >= 2 * self.settings.receive_maximum
