"""A pipeline with the real queue before it, and a database that stores a batch when the test says so."""

from collections.abc import Callable, Sequence

from gateway.intake import Piece, Verdict
from gateway.pipeline.packets import Packets
from gateway.pipeline.queue import PacketQueue
from gateway.pipeline.settings import BatchSettings

STORED = Verdict(stored=1)


class QueuedIntake:
    """Bounded as the settings say; `largest` are the most bytes that ever waited."""

    def __init__(self, **settings: int) -> None:
        self.queue = PacketQueue(BatchSettings(**settings))
        self.stored: list[tuple[str, bytes]] = []  # device id and payload, in the order of their batches
        self.batches = 0
        self.largest = 0
        self.waited: dict[str, int] = {}  # batches from a device's newest packet to the one that it was in
        self._arrived: dict[str, int] = {}

    def submit(self, pieces: Sequence[Piece]) -> bool:
        """Take packets."""
        self._arrived.update((packet.device_id, self.batches) for packet in Packets(pieces))
        has_room = self.queue.put(pieces)
        self.largest = max(self.largest, self.queue.bytes)
        return has_room

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Call `resume` when there is room again."""
        self.queue.when_ready(resume, little=little)

    def store_a_batch(self) -> int:
        """Store one batch, and settle it; how many packets it had."""
        pieces = self.queue.take()
        if pieces:
            self.batches += 1
        stored = [(packet.device_id, packet.payload) for packet in Packets(pieces)]
        self.stored += stored
        self.waited.update((device_id, self.batches - self._arrived[device_id]) for device_id, _ in stored)
        for piece in pieces:
            piece.origin.settle(piece.tokens, [STORED] * len(piece.tokens))
        return sum(len(piece.tokens) for piece in pieces)
