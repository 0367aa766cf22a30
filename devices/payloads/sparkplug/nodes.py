"""What is remembered of edge nodes: their births, where their counting stands, when a rebirth was asked for."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from devices.payloads.naming import metric_names
from devices.payloads.sparkplug.payload import Metric

_SEQS: Final = 256
_MOST_REMEMBERED: Final = 1_000_000  # metrics of all births together; some 200 bytes each
_ASK_AGAIN_US: Final = 5_000_000  # doubled with each question that no birth answers…
_ASK_AT_MOST_US: Final = 600_000_000  # …up to this


@dataclass(frozen=True, slots=True)
class Birth:
    """What a birth has told of a node's, or a device's, metrics."""

    names: Mapping[int, str]  # by alias
    types: Mapping[str, int]
    metric_names: Mapping[str, str]  # what we call them

    @classmethod
    def of(cls, metrics: Sequence[Metric]) -> "Birth":
        """From the metrics of an NBIRTH or DBIRTH."""
        named = [(metric, metric.name) for metric in metrics if metric.name]
        return cls(
            names={metric.alias: name for metric, name in named if metric.alias is not None},
            types={name: metric.datatype for metric, name in named if metric.datatype},
            metric_names=metric_names(name for _, name in named),
        )

    def __len__(self) -> int:
        return len(self.metric_names) + 1


@dataclass(slots=True)
class EdgeNode:
    """One edge node; "" in `births` is the node itself, the other keys are its devices.

    `is_sure`: since its birth no message is missing, so that an alias means what the birth has said.
    """

    births: dict[str, Birth] = field(default_factory=dict[str, Birth])
    bd_seq: int | None = None
    seq: int | None = None
    is_sure: bool = False
    ask_after_us: int = 0
    ask_again_us: int = _ASK_AGAIN_US

    def counts(self, seq: int | None) -> bool:
        """Whether a message's number is the next one, or the last one again; else it counts on from there."""
        if seq is None:
            return True
        before, self.seq = self.seq, seq % _SEQS
        if before is None or self.seq in (before, (before + 1) % _SEQS):
            return True
        self.is_sure = False
        return False

    def may_ask(self, now_us: int) -> bool:
        """Whether it is time to ask for a rebirth (again)."""
        if now_us < self.ask_after_us:
            return False
        self.ask_after_us = now_us + self.ask_again_us
        self.ask_again_us = min(2 * self.ask_again_us, _ASK_AT_MOST_US)
        return True

    def born(self, birth: Birth, seq: int | None, bd_seq: int | None) -> None:
        """An NBIRTH: everything that was known of the node and its devices is over."""
        self.births = {"": birth}
        self.bd_seq = bd_seq
        self.seq = seq
        self.is_sure = True
        self.ask_again_us = _ASK_AGAIN_US

    def is_outdated(self, bd_seq: int | None) -> bool:
        """Whether a death belongs to an earlier connection than the last birth, not to its own or a later one."""
        if bd_seq is None or self.bd_seq is None:
            return False
        return 0 < (self.bd_seq - bd_seq) % _SEQS < _SEQS // 2

    def die(self) -> list[str]:
        """The devices that die with the node."""
        devices = [device for device in self.births if device]
        self.births = {}
        self.seq = None
        self.is_sure = False
        return devices


class EdgeNodes:
    """All edge nodes; those not heard of for longest are forgotten where their births would fill the memory."""

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._nodes: OrderedDict[tuple[str, str], EdgeNode] = OrderedDict()
        self._most = most
        self._remembered: dict[tuple[str, str], int] = {}
        self._total = 0

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, group: str, edge: str) -> EdgeNode | None:
        """A node that is remembered."""
        return self._nodes.get((group, edge))

    def meet(self, group: str, edge: str) -> EdgeNode:
        """A node, new or heard of again."""
        key = (group, edge)
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = EdgeNode()
        self._nodes.move_to_end(key)
        return node

    def weigh(self, group: str, edge: str) -> None:
        """A node's births have changed: count them anew, and forget others if need be."""
        key = (group, edge)
        weight = 1 + sum(map(len, self._nodes[key].births.values()))
        self._total += weight - self._remembered.get(key, 0)
        self._remembered[key] = weight
        while self._total > self._most and len(self._nodes) > 1:
            oldest, _ = self._nodes.popitem(last=False)
            self._total -= self._remembered.pop(oldest, 0)
