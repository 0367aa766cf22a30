"""From a socket's first bytes to a device that is let in, or told why not."""

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from gateway.doors.listen.admit import Admission, Refusal, admit, refuse_early, refuse_guesser
from gateway.doors.listen.context import DoorContext
from gateway.doors.listen.token import without_token
from gateway.doors.mqtt import write
from gateway.doors.mqtt.codes import ReasonCode
from gateway.doors.mqtt.packets import Connect, Incoming, Violation
from gateway.doors.reading import Hold


class Host(Protocol):
    """The connection, as its introduction sees it."""

    def let_in(self, connect: Connect, admission: Admission, early: Sequence[Incoming]) -> None:
        """The device is in; `early` came right behind its CONNECT."""
        ...

    def show_out(self, last_words: bytes) -> None:
        """It is not."""
        ...

    def hold(self, reason: Hold) -> None:
        """Do not read for now."""
        ...

    def release(self, reason: Hold) -> None:
        """Read on."""
        ...


class Introduction:
    """What a connection is until its device is let in; afterwards it is thrown away."""

    __slots__ = ("_address", "_door", "_early", "_has_begun", "_host", "_names", "ended")

    def __init__(self, door: DoorContext, host: Host, address: str, ended: Callable[[], None]) -> None:
        """`ended` is to be called once the introduction is over, however."""
        self._door = door
        self._host = host
        self._address = address
        self._names: Sequence[str] = ()
        self._early: list[Incoming] = []  # packets that came before the login was decided
        self._has_begun = False
        self.ended = ended

    def shows(self, certificate_names: Sequence[str]) -> None:
        """The handshake has verified a client certificate with these names."""
        self._names = certificate_names

    def take(self, packets: Sequence[Incoming], version: int) -> None:
        """What has come; `version` is the one that the first packet names, 0 where it is no CONNECT."""
        self._early += packets
        if self._has_begun:
            return
        self._has_begun = True
        first = self._early.pop(0)
        if isinstance(first, Violation):
            self._door.count_violation(first, None)
            self._host.show_out(write.connack_refusal(version, first.code, first.detail) if version else b"")
        else:
            self._greet(without_token(cast("Connect", first)))  # the stream lets nothing else come first

    def _greet(self, connect: Connect) -> None:
        early = refuse_early(connect)
        if early is not None:
            self._refuse(connect, early)
            return
        logins = self._door.logins
        if not logins.is_slow(connect):
            self._decide(connect, logins.decide(connect, self._names))
        elif (guesser := refuse_guesser(connect, self._address, self._door)) is not None:
            self._refuse(connect, guesser)
        elif logins.decide_later(connect, self._names, lambda device_id: self._decide_late(connect, device_id)):
            self._host.hold(Hold.LOGIN)
        else:
            self._refuse(connect, Refusal(ReasonCode.SERVER_BUSY, "too many logins at once; try again"))

    def _decide_late(self, connect: Connect, device_id: str | None) -> None:
        self._decide(connect, device_id)
        self._host.release(Hold.LOGIN)

    def _decide(self, connect: Connect, device_id: str | None) -> None:
        decision = admit(connect, device_id, self._address, self._door)
        if isinstance(decision, Refusal):
            self._refuse(connect, decision)
        else:
            self._host.let_in(connect, decision, self._early)

    def _refuse(self, connect: Connect, refusal: Refusal) -> None:
        reason = refusal.code.name.lower()
        self._door.counters.refused[reason] += 1
        self._door.log.warning("listen.refused", reason=reason, detail=refusal.detail)
        words = refusal.detail if write.has_room_for_words(connect.max_packet_bytes) else ""
        self._host.show_out(write.connack_refusal(connect.version, refusal.code, words))
