"""Acknowledgements to a broker leave in the order in which its packets came."""

from collections import deque
from collections.abc import Iterable, Sequence


class InOrder:
    """Lets packet identifiers out in the order of their packets, in whatever order these are settled.

    The pipeline settles each device's packets in their order, but lets devices overtake each other. A client must send
    its PUBACKs in the order in which the PUBLISHes were received (MQTT 3.1.1 and 5, section 4.6).
    """

    __slots__ = ("_early", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._early: dict[int, int] = {}  # how often each identifier is settled before its turn

    def received(self, packet_ids: Iterable[int]) -> None:
        """Packets came, at QoS 1."""
        self._waiting.extend(packet_ids)

    def settled(self, packet_ids: Sequence[int]) -> list[int]:
        """Packets are settled; which ones are to be acknowledged now.

        A broker that gives an identifier away twice gets as many acknowledgements.
        """
        early, waiting = self._early, self._waiting
        for packet_id in packet_ids:
            early[packet_id] = early.get(packet_id, 0) + 1
        out: list[int] = []
        while waiting and waiting[0] in early:
            packet_id = waiting.popleft()
            out.append(packet_id)
            if early[packet_id] == 1:
                del early[packet_id]
            else:
                early[packet_id] -= 1
        return out
