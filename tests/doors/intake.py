"""A pipeline that settles when it is told to."""

import asyncio
from collections.abc import Callable, Sequence

from gateway.intake import Origin, Packet, Piece, Verdict
from gateway.pipeline.packets import Packets
from tests.services.patience import PATIENCE_S

STORED = Verdict(stored=1)


class HeldIntake:
    """Takes packets and holds them until `settle`; with `at_once` it settles by itself, one turn of the loop later."""

    def __init__(self, *, at_once: bool = False, verdict: Verdict = STORED) -> None:
        """`verdict` is what becomes of packets where `settle` is told nothing else."""
        self.packets: list[Packet] = []
        self.held: list[Packet] = []
        self.is_full = False
        self._at_once = at_once
        self._verdict = verdict
        self._resumes: list[Callable[[], None]] = []

    def submit(self, pieces: Sequence[Piece]) -> bool:
        """Take packets; False when the test has filled it."""
        packets = Packets(pieces)
        self.packets += packets
        self.held += packets
        if self._at_once:
            asyncio.get_running_loop().call_soon(self.settle)
        return not self.is_full

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Remember whom to call in `make_room`."""
        del little
        self._resumes.append(resume)

    def settle(self, count: int | None = None, verdict: Verdict | None = None) -> None:
        """Settle the oldest `count` held packets, or all, in order, as batches do: one call for each origin."""
        count = len(self.held) if count is None else count
        settled, self.held = self.held[:count], self.held[count:]
        tokens: dict[Origin, list[int]] = {}
        for packet in settled:
            tokens.setdefault(packet.origin, []).append(packet.token)
        for origin, of_origin in tokens.items():
            origin.settle(of_origin, [verdict or self._verdict] * len(of_origin))

    def make_room(self) -> None:
        """Have room again."""
        self.is_full = False
        resumes, self._resumes = self._resumes, []
        for resume in resumes:
            resume()

    @property
    def payloads(self) -> list[bytes]:
        """What was in the packets so far."""
        return [packet.payload for packet in self.packets]


async def eventually(condition: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
    """Return as soon as `condition` holds; fail the test when it does not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - a condition of somebody else's, who sets no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError("the condition never held") from None
