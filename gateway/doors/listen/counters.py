"""What the listen door has seen since it started."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ListenStats:
    """A snapshot; all but the first three count since start. Reasons are names of MQTT reason codes."""

    connections: int
    waiting: int  # sockets that wait for their turn
    half_open: int  # in their handshake, or before CONNECT is answered
    accepted: int
    turned_away: int  # for want of room: `max_connections`, `max_connections_per_address`, `max_waiting`, …
    logins: int
    refused: Mapping[str, int]  # CONNECTs that were not let in, by reason
    published: int  # PUBLISHes handed to the pipeline
    published_bytes: int  # of their payloads
    acknowledged: int
    quarantined: int  # PUBLISHes of which something went into quarantine
    foreign_topics: int
    taken_over: int
    wills: int
    timeouts: int  # no CONNECT, or a keep-alive missed
    held: int  # times a connection was not read because something was full
    lost_at_qos_0: (
        int  # PUBLISHes that the pipeline had no room for until their connection ended: nobody sends them again
    )
    violations: Mapping[str, int]  # by reason
    disconnected: int


@dataclass(slots=True)
class ListenCounters:
    """The door's own tally, changed in place by its connections."""

    accepted: int = 0
    turned_away: int = 0
    logins: int = 0
    published: int = 0
    published_bytes: int = 0
    acknowledged: int = 0
    quarantined: int = 0
    foreign_topics: int = 0
    taken_over: int = 0
    wills: int = 0
    timeouts: int = 0
    held: int = 0
    lost_at_qos_0: int = 0
    disconnected: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    violations: Counter[str] = field(default_factory=Counter[str])

    def snapshot(self, connections: int, waiting: int, half_open: int) -> ListenStats:
        """The tally as it stands."""
        return ListenStats(
            connections=connections,
            waiting=waiting,
            half_open=half_open,
            accepted=self.accepted,
            turned_away=self.turned_away,
            logins=self.logins,
            refused=dict(self.refused),
            published=self.published,
            published_bytes=self.published_bytes,
            acknowledged=self.acknowledged,
            quarantined=self.quarantined,
            foreign_topics=self.foreign_topics,
            taken_over=self.taken_over,
            wills=self.wills,
            timeouts=self.timeouts,
            held=self.held,
            lost_at_qos_0=self.lost_at_qos_0,
            violations=dict(self.violations),
            disconnected=self.disconnected,
        )
