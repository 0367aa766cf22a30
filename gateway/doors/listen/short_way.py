"""The short way of what nearly every read of a device brings: one PUBLISH, whole, on the topic that it always uses."""

from collections.abc import Sequence

from gateway.doors.listen.acknowledge import Acknowledgements
from gateway.doors.listen.context import LARGEST_SHARE, DoorContext
from gateway.doors.listen.flow import Flow
from gateway.doors.listen.singles import LARGEST_SINGLE, Plain
from gateway.doors.mqtt.stream import PacketStream
from gateway.intake import Bunch, Route, Verdict


class ShortWay(Flow):
    """The part of a connection that knows how its packets look, and has them gathered with those of others."""

    __slots__ = ("_acknowledgements", "_plain", "_stream", "_turn", "_unsettled_bytes", "_version", "_window")

    keeps_order = True  # of PUBACKs, per connection

    def __init__(self, door: DoorContext) -> None:
        super().__init__(door)
        self._stream = PacketStream(door.settings.max_packet_bytes, door.cut)
        self._version = 0
        self._acknowledgements = Acknowledgements(with_reasons=False)
        self._window = door.settings.receive_maximum
        self._unsettled_bytes = 0
        self._plain: Plain | None = None  # while it is open, once it has sent a packet by itself
        self._turn = -1  # in which it has brought something to those that are gathered

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> None:
        """Acknowledge packets whose transaction has committed."""
        raise NotImplementedError

    def get_used_to(self, bunch: Bunch) -> None:
        """Have what comes like this one gathered with what others bring, if it came by itself."""
        if bunch.route is not Route.TELEMETRY or len(bunch.tokens) > 1 or not bunch.tokens[0]:
            return
        if not self.is_open or self._door.settings.max_packet_bytes < LARGEST_SINGLE:
            return
        if self._plain is None or self._plain.topic != bunch.topic:
            self._plain = self._door.singles.plain(bunch.topic, bunch.device_id, self._version, bunch.codec)

    def take_single(self, plain: Plain, data: bytes) -> bool:
        """Take what was read the short way, if it is one packet as usual and nothing stands in its way."""
        acknowledgements, door, window = self._acknowledgements, self._door, self._window
        if (
            acknowledgements.unsettled >= window
            or acknowledgements.unacknowledged >= window
            or self._unsettled_bytes > LARGEST_SHARE - LARGEST_SINGLE
            or door.valve.is_shut
            or not self._stream.is_between
            or (size := plain.add(self, data)) < 0
        ):
            return False
        self._heard_s = self._loop.time()
        acknowledgements.submitted(1, 1)
        self._unsettled_bytes += size
        singles = door.singles
        self._turn = singles.turn
        singles.added()
        return True

    def hand_on_single(self) -> None:
        """Hand on what it has brought to those that are gathered, before anything that comes later."""
        if self._turn == self._door.singles.turn:
            self._door.singles.hand_on()

    def end_short_way(self) -> None:
        """Nothing more is taken; what was is handed on."""
        self._plain = None
        self.hand_on_single()
