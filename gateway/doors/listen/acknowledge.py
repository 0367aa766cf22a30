"""Which PUBLISHes of a connection still wait for their transaction, and the acknowledgements in order."""

from collections import deque
from collections.abc import Sequence

from gateway.doors.mqtt import write
from gateway.doors.mqtt.codes import ReasonCode
from gateway.intake import Alike, Verdict


class Acknowledgements:
    """One connection's PUBACKs, in the order of their PUBLISHes.

    The pipeline settles what was submitted in order; what the door refuses by itself waits behind what came before it.
    """

    __slots__ = ("_refused", "_settled", "_submitted", "_with_reasons", "unacknowledged")

    def __init__(self, *, with_reasons: bool) -> None:
        """`with_reasons`: the client speaks MQTT 5 and wants to be told why."""
        self._with_reasons = with_reasons
        self._submitted = 0
        self._settled = 0
        self._refused: deque[tuple[int, int, ReasonCode]] | None = None  # settled count to wait for, packet id, code
        self.unacknowledged = 0  # at QoS 1

    @property
    def unsettled(self) -> int:
        """PUBLISHes of any QoS that the pipeline still has."""
        return self._submitted - self._settled

    def submitted(self, packets: int, at_qos_1: int) -> None:
        """PUBLISHes went to the pipeline."""
        self._submitted += packets
        self.unacknowledged += at_qos_1

    def refuse(self, packet_id: int, code: ReasonCode, earlier: int) -> bytes:
        """A PUBLISH at QoS 1 is refused; its PUBACK, or b"" while earlier ones are not settled.

        `earlier` packets of the same read came before it and have not been submitted yet.
        """
        turn = self._submitted + earlier
        if turn == self._settled:
            return write.puback(packet_id, code, "")
        if self._refused is None:  # most devices never need one, which is larger than all the rest
            self._refused = deque()
        self._refused.append((turn, packet_id, code))
        self.unacknowledged += 1
        return b""

    def settle(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> bytes:
        """The PUBACKs that may leave now. Tokens are packet identifiers, 0 at QoS 0."""
        if self._refused or (self._with_reasons and _is_any_quarantined(verdicts)):
            return self._settle_one_by_one(tokens, verdicts)
        self._settled += len(tokens)
        packet_ids = tokens if all(tokens) else [token for token in tokens if token]
        self.unacknowledged -= len(packet_ids)
        return write.pubacks(packet_ids)

    def _settle_one_by_one(self, tokens: Sequence[int], verdicts: Sequence[Verdict]) -> bytes:
        out = bytearray()
        for token, verdict in zip(tokens, verdicts, strict=True):
            self._settled += 1
            if token:
                self.unacknowledged -= 1
                reason = _reason(verdict) if self._with_reasons else ""
                out += write.puback(token, ReasonCode.SUCCESS, reason) if reason else write.pubacks((token,))
            while self._refused and self._refused[0][0] == self._settled:
                _, packet_id, code = self._refused.popleft()
                self.unacknowledged -= 1
                out += write.puback(packet_id, code, "")
        return bytes(out)


def _is_any_quarantined(verdicts: Sequence[Verdict]) -> bool:
    if isinstance(verdicts, Alike):
        return verdicts.verdict.quarantined > 0
    return any(verdict.quarantined for verdict in verdicts)


def _reason(verdict: Verdict) -> str:
    """What an MQTT 5 client is told of a PUBLISH that is kept, but not as readings."""
    if not verdict.quarantined:
        return ""
    words = ["quarantined", verdict.reason.value if verdict.reason else "", verdict.detail]
    return ": ".join(word for word in words if word)
