"""Acknowledgements to a broker leave in the order in which its packets came."""

from collections.abc import Iterable, Sequence


class InOrder:
    """Lets packet identifiers out in the order of their packets, in whatever order these are settled.

    The pipeline settles each device's packets in their order, but lets devices overtake each other. A client must send
    its PUBACKs in the order in which the PUBLISHes were received (MQTT 3.1.1 and 5, section 4.6).
    """

    __slots__ = ("_early", "_next", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._next = 0  # where in `_waiting` the first is that was not let out
        self._early: dict[int, int] = {}  # how often each identifier is settled before its turn

    @property
    def kept(self) -> int:
        """How many identifiers it holds; no more than twice those that are not let out."""
        return len(self._waiting)

    def received(self, packet_ids: Iterable[int]) -> None:
        """Packets came, at QoS 1."""
        self._waiting.extend(packet_ids)

    def settled(self, packet_ids: Sequence[int]) -> Sequence[int]:
        """Packets are settled; which ones are to be acknowledged now.

        A broker that gives an identifier away twice gets as many acknowledgements.
        """
        waiting, start = self._waiting, self._next
        if not self._early and waiting[start : start + len(packet_ids)] == packet_ids:  # as they came: nearly always
            self._let_out(len(packet_ids))
            return packet_ids
        early = self._early
        for packet_id in packet_ids:
            early[packet_id] = early.get(packet_id, 0) + 1
        stop = start
        while stop < len(waiting) and (packet_id := waiting[stop]) in early:
            stop += 1
            if early[packet_id] == 1:
                del early[packet_id]
            else:
                early[packet_id] -= 1
        self._let_out(stop - start)
        return waiting[start:stop]

    def _let_out(self, count: int) -> None:
        """Go on behind so many; what was let out is forgotten when it is most of what is kept."""
        self._next += count
        if 2 * self._next > len(self._waiting):
            self._waiting = self._waiting[self._next :]
            self._next = 0
