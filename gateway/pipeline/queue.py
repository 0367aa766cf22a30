"""What waits for a batch: bounded, and fair between devices.

Each connection of the listen door has a lane of its own, and each device of a subscription. A batch takes a turn from
every lane that has something, in rounds: a device in a storm fills what the others leave free and no more, and its
backlog is spread over batches rather than filling some. Turns and batches are measured by what packets cost, not by
their number (see `Costs`). A lane that cannot pay for its next packet saves its turns up (deficit round robin), and who
has just come goes before those who have had a turn and wait for another. What comes of many devices in one piece stays
together and in the order of arrival as long as a batch can take everything or nobody has far more than others; else
it goes into their lanes. Within a lane the order of arrival stands, which is the order per device for as long as it
keeps to one connection. What is told in a dialect may be about several devices, one in need of the other: of a
subscription, it has one lane together.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, chain
from typing import Final

from gateway.intake import Bunch, Gathered, Mixed, Piece, Verdict, source_of
from gateway.pipeline.costs import LARGE, Costs
from gateway.pipeline.packets import unmixed
from gateway.pipeline.settings import BatchSettings
from gateway.pipeline.whole import Whole

_LOW_WATER: Final = 0.5  # of the bounds; below it the doors read again
_BYTES_PER_READING: Final = 512  # bounds a batch of packets that each hold many readings
_LEAST_TURN: Final = 32
"""What the packets may cost that a lane gives in a turn, however many others wait: answering a device costs as much for
one as for many."""
_NEWCOMERS: Final = 0.75
"""Of a batch: what is left to lanes that have had a turn already, however many others come anew."""
_DEAR_SHARE: Final = 0.25
"""Of a batch: what devices may use together whose packets cost far more than they look, so that nobody waits long."""
_LOOK: Final = 0.25  # of a batch's age: how often it is looked whether many keep coming
_MANY: Final = 100
_AS_EVER: Final = 0.5  # of the pace so far
_PATIENCE: Final = 4.0
"""How many times its age a batch may grow old while many keep coming."""

_Lane = list[Bunch]
_Key = tuple[int, str]  # the origin's identity and the device


class PacketQueue:
    """Packets between the doors and the pipeline."""

    def __init__(self, settings: BatchSettings, in_order: Collection[str] = ()) -> None:
        """`in_order` are codecs whose packets keep their order across devices."""
        self._settings = settings
        self._in_order = frozenset(in_order)
        self._costs = Costs()
        self._lanes: dict[_Key, _Lane] = {}  # never an empty one
        self._saved: dict[_Key, float] = {}  # of lanes that have had a turn and wait for another
        self._may_be_dear = False  # something that waits
        self._mixed = Whole()  # a broker's
        self._gathered = Whole()  # of the listen door
        self._waiting_doors: list[Callable[[], None]] = []
        self._waiting_with_little: list[Callable[[], None]] = []
        self._when_worth_it: Callable[[], None] | None = None
        self._arrived = asyncio.Event()
        self._ripe = asyncio.Event()
        self._since_s = 0.0  # when the oldest packet began to wait, on the loop's clock
        self.packets = 0
        self.bytes = 0

    def put(self, pieces: Sequence[Piece]) -> bool:
        """Append packets of one or several origins; False above the bounds."""
        for piece in pieces:
            if not isinstance(piece, Mixed):
                if self._mixed.has_before(piece) or self._gathered.has_before(piece):
                    self._spread()
                self._append(piece)
            elif isinstance(piece.origin, Gathered):
                self._gathered.append(piece)
            elif piece.origin.keeps_order or piece.codec in self._in_order:
                self._spread()
                self._append_all(piece)
            else:
                self._mixed.append(piece)
            size = _bytes_of(piece)
            self.packets += len(piece.tokens)
            self.bytes += size
            self._may_be_dear = self._may_be_dear or self._costs.may_be_dear(piece, size)
        if pieces and not self._arrived.is_set():
            self._arrived.set()
            self._since_s = asyncio.get_running_loop().time()
        if self.has_a_batch:
            self._ripe.set()
        if self._when_worth_it is not None and self.is_worth_a_batch:
            asyncio.get_running_loop().call_soon(self._when_worth_it)
            self._when_worth_it = None
        return not self.is_full

    def _append(self, bunch: Bunch) -> None:
        origin, _, device_id, _, codec, _, _, _ = bunch
        key = (id(source_of(origin)), "" if origin.keeps_order or codec in self._in_order else device_id)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = [bunch]
        else:
            lane.append(bunch)

    def _append_all(self, mixed: Mixed) -> None:
        for bunch in unmixed(mixed):
            self._append(bunch)

    def _spread(self) -> None:
        """Put what waits as it came into lanes."""
        for mixed in (*self._gathered.take_all(), *self._mixed.take_all()):
            self._append_all(mixed)

    @property
    def has_a_batch(self) -> bool:
        """Whether as much waits as a batch may hold."""
        return self._batches >= 1

    @property
    def _batches(self) -> float:
        """How many batches wait, by packets or by bytes."""
        room = self._settings.max_readings
        return max(self.packets / room, self.bytes / (room * _BYTES_PER_READING))

    @property
    def is_worth_a_batch(self) -> bool:
        """Whether so much waits that it is worth one although the database is busy.

        Half a batch is: devices at a door of ours send no more until they are answered. Those of a broker do, so that
        there the batch is left to grow, and what a commit costs is shared by as many as may be.
        """
        return self._batches >= (1.0 if self._is_of_brokers else 0.5)

    @property
    def _is_of_brokers(self) -> bool:
        """Whether all that waits has come from brokers, which do not wait for an answer with their next messages."""
        return bool(self._mixed) and not self._lanes and not self._gathered

    def when_worth_it(self, call: Callable[[], None] | None) -> None:
        """Call once, soon after so much waits that it is worth a batch; None takes that back."""
        self._when_worth_it = call

    @property
    def is_full(self) -> bool:
        """Whether the doors should stop reading."""
        return self.packets >= self._settings.queue_packets or self.bytes >= self._settings.queue_bytes

    def waiting(self) -> Iterator[Piece]:
        """What waits, in no order."""
        return chain(chain.from_iterable(self._lanes.values()), self._gathered.pieces, self._mixed.pieces)

    def when_ready(self, resume: Callable[[], None], *, little: bool = False) -> None:
        """Call `resume` once there is room again, any at all for a `little`; at once, but not from within, when so."""
        if self._has_room() or (little and not self.is_full):
            asyncio.get_running_loop().call_soon(resume)
        else:
            (self._waiting_with_little if little else self._waiting_doors).append(resume)

    def oldest_received_s(self) -> float | None:
        """Receipt time of the oldest packet that waits, on the gateway's clock."""
        first = chain((lane[0] for lane in self._lanes.values()), self._gathered.pieces[:1], self._mixed.pieces[:1])
        return min((piece.received_s for piece in first), default=None)

    async def wait(self, timeout_s: float) -> bool:
        """Return when a batch is ripe, by count or by age; False when nothing has come for `timeout_s`."""
        if not await _is_set(self._arrived, timeout_s):
            return False
        look_s = self._settings.max_age * _LOOK
        await _is_set(self._ripe, max(self._settings.max_age - look_s - self._age_s, 0.0))
        before = self.packets
        while not await _is_set(self._ripe, look_s):
            came_per_s = (self.packets - before) / look_s if look_s else 0.0
            if not self._is_of_brokers:
                break  # a device of the listen door waits itself
            if not is_worth_waiting(self.packets, came_per_s, self._age_s, self._settings.max_age):
                break
            before = self.packets
        return True

    @property
    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._since_s

    def learn(self, pieces: Sequence[Piece], verdicts: Sequence[Verdict]) -> None:
        """What became of packets that were taken."""
        has_noted = self._costs.learn(pieces, verdicts)
        self._may_be_dear = self._may_be_dear or (has_noted and self.packets > 0)

    def take(self) -> list[Piece]:
        """A batch's worth of packets, a turn from each lane in rounds."""
        room, room_bytes = self._settings.max_readings, self._settings.max_readings * _BYTES_PER_READING
        lanes = self._lanes
        if self.packets <= room and self.bytes <= room_bytes and not self._may_be_dear:
            taken: list[Piece] = list(self.waiting())
            lanes.clear()
            self._saved.clear()
            self._gathered, self._mixed = Whole(), Whole()
            self.packets = self.bytes = 0
        else:
            taken = [] if self._may_be_dear else self._take_first(room, room_bytes)
            if not taken:
                self._spread()
                taken = self._take_turns(room, room_bytes)
            self._may_be_dear = self._may_be_dear and self.packets > 0
        self._settle_marks()
        self._wake_doors()
        return taken

    def _take_first(self, room: int, room_bytes: int) -> list[Piece]:
        """What waits as it came, where nothing else waits and nobody has far more waiting than others."""
        whole = self._gathered or self._mixed
        if self._lanes or (self._gathered and self._mixed) or whole.is_stormed(_LEAST_TURN):
            return []
        taken = 0
        for piece in whole.pieces:
            count, size = len(piece.tokens), _bytes_of(piece)
            if count > room or size > room_bytes:
                break
            taken += 1
            room -= count
            room_bytes -= size
            self.packets -= count
            self.bytes -= size
        return [*whole.take(taken)]

    def _take_turns(self, room: int, room_bytes: int) -> list[Piece]:
        lanes, saved = self._lanes, self._saved
        left = _Left(max(room // max(len(lanes), 1), _LEAST_TURN), room, room * _DEAR_SHARE, room_bytes)
        for key in [key for key in lanes if key not in saved]:
            if left.cost <= room * (1 - _NEWCOMERS) or left.size <= room_bytes * (1 - _NEWCOMERS):
                break
            self._take_turn(key, left)
        waited = 0  # turns in a row that were saved up
        while left.cost > 0 and left.size > 0 and lanes:
            before = len(left.taken)
            self._take_turn(next(iter(lanes)), left)
            waited = waited + 1 if len(left.taken) == before else 0
            if lanes and waited == len(lanes):
                if not self._give_turns(left):
                    break
                waited = 0
        self.packets -= sum([len(piece.tokens) for piece in left.taken])
        self.bytes -= room_bytes - left.size
        return [*left.taken]

    def _take_turn(self, key: _Key, left: "_Left") -> None:
        """Take of a lane what it can pay for; if something stays, it goes to the end of the round."""
        lane = self._lanes.pop(key)
        pays = self._saved.pop(key, 0.0) + left.turn
        whole = 0
        for bunch in lane:
            is_dear = self._may_be_dear and self._costs.is_dear(bunch.device_id)
            room = min(left.cost, left.dear) if is_dear else left.cost
            if room <= 0 or left.size <= 0:
                break
            size = _bytes_of(bunch)
            costs = self._costs_of(bunch, size, int(pays) + 1)
            count = _fitting(bunch, size, bisect_right(costs, min(pays, max(room, costs[0]))), left.size)
            if not count:
                break
            pays -= costs[count - 1]
            if count < len(bunch.tokens):
                part, lane[whole] = _cut(bunch, count)
                left.take(part, _bytes_of(part), costs[count - 1], is_dear=is_dear)
                break
            left.take(bunch, size, costs[count - 1], is_dear=is_dear)
            whole += 1
        if whole < len(lane):
            self._lanes[key] = lane[whole:]
            self._saved[key] = pays

    def _costs_of(self, bunch: Bunch, size: int, first: int) -> Sequence[float]:
        """What the first packet of a bunch of so many bytes costs, the first two together, and so on."""
        if not self._may_be_dear and (size < LARGE or max(map(len, bunch.payloads)) < LARGE):
            return range(1, len(bunch.tokens) + 1)
        return list(accumulate(self._costs.of(bunch, first)))

    def _give_turns(self, left: "_Left") -> bool:
        """Let so many rounds go by at once that somebody can pay, where nobody could in a whole one; False: nobody may.

        Whose packets are dear waits for the next batch once this one has no more room for them.
        """
        may = {
            key: self._costs.of(lane[0], 1)[0] - self._saved[key]
            for key, lane in self._lanes.items()
            if left.dear > 0 or not self._costs.is_dear(lane[0].device_id)
        }
        rounds = max(min(may.values(), default=0.0) / left.turn - 1.0, 0.0)
        for key in may:
            self._saved[key] += rounds * left.turn
        return bool(may)

    def _settle_marks(self) -> None:
        self._since_s = asyncio.get_running_loop().time()
        if not self._lanes and not self._gathered and not self._mixed:
            self._arrived.clear()
        if not self.has_a_batch:
            self._ripe.clear()

    def _has_room(self) -> bool:
        return (
            self.packets <= self._settings.queue_packets * _LOW_WATER
            and self.bytes <= self._settings.queue_bytes * _LOW_WATER
        )

    def _wake_doors(self) -> None:
        doors: list[Callable[[], None]] = []
        if self._waiting_with_little and not self.is_full:
            doors, self._waiting_with_little = self._waiting_with_little, []
        if self._waiting_doors and self._has_room():
            doors, self._waiting_doors = doors + self._waiting_doors, []
        for resume in doors:
            asyncio.get_running_loop().call_soon(resume)


@dataclass(slots=True)
class _Left:
    """What room there is in a batch that is being made, and what it has."""

    turn: float
    cost: float
    dear: float
    size: int
    taken: list[Bunch] = field(default_factory=list[Bunch])

    def take(self, bunch: Bunch, size: int, cost: float, *, is_dear: bool) -> None:
        self.taken.append(bunch)
        self.cost -= cost
        self.dear -= cost * is_dear
        self.size -= size


def is_worth_waiting(packets: int, came_per_s: float, age_s: float, max_age_s: float) -> bool:
    """Whether a batch of a broker's messages is to grow older than it should, because many keep coming.

    A commit costs the same for few and for many. Devices at a door of ours wait for it with their next messages; those
    of a broker do not, for it has answered them already.
    """
    is_young = age_s < _PATIENCE * max_age_s
    return is_young and packets >= _MANY and came_per_s * age_s > _AS_EVER * packets


def _bytes_of(piece: Piece) -> int:
    payloads = piece.payloads
    return len(payloads[0]) if len(payloads) == 1 else sum(map(len, payloads))


def _fitting(bunch: Bunch, size: int, most: int, most_bytes: int) -> int:
    """How many of a bunch's first packets may be taken: at most so many, and as bytes at most one too many."""
    count = len(bunch.tokens)
    if count > 1 and size > most_bytes:
        most = min(most, bisect_left(list(accumulate(map(len, bunch.payloads))), most_bytes) + 1)
    return min(count, most)


def _cut(bunch: Bunch, count: int) -> tuple[Bunch, Bunch]:
    tokens, payloads = bunch.tokens, bunch.payloads
    first = bunch._replace(tokens=tokens[:count], payloads=payloads[:count])
    return first, bunch._replace(tokens=tokens[count:], payloads=payloads[count:])


async def _is_set(event: asyncio.Event, timeout_s: float) -> bool:
    if event.is_set():
        return True
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()
