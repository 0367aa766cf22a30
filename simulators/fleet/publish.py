"""Many devices' connections in one thread: a selector drives them, a window limits what is in flight."""

import selectors
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from simulators.fleet.ledger import Ledger
from simulators.fleet.link import Account, Errand, Link, Refused, Target
from simulators.fleet.network import Act
from simulators.fleet.packets import Packet

_CARE_EVERY_S = 0.2


class Publisher:
    """Publishes for a whole fleet and keeps the ledger; all of it in the caller's thread."""

    def __init__(
        self,
        target: Target,
        accounts: Iterable[Account],
        ledger: Ledger,
        settled: Callable[[int], None],
        *,
        window: int = 16,
        obey: Callable[[str, str], str | None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._settled = settled
        self._window = window
        self._selector = selectors.DefaultSelector()
        self._registered: dict[str, tuple[socket.socket, int]] = {}
        self._open: defaultdict[int, int] = defaultdict(int)
        self._complete: set[int] = set()
        self._next_step = 0
        self._care_at = 0.0
        self._links = {account.device_id: Link(account, target, ledger.sent, self._done, obey) for account in accounts}
        self._busy: dict[str, Link] = {}

    def add(self, device_id: str, step: int, act: Act, packet: Packet | None = None) -> None:
        """Give a device an errand that belongs to a step."""
        link = self._links[device_id]
        link.errands.append(Errand(step, act, packet))
        self._busy[device_id] = link
        self._open[step] += 1

    def complete(self, step: int) -> None:
        """Nothing more will be added to this step; `settled` is called, in order, once all of it is acknowledged."""
        self._complete.add(step)
        self._advance()

    @property
    def unsettled(self) -> int:
        """Steps that are given but not wholly acknowledged."""
        return len(self._open) + len(self._complete - self._open.keys())

    @property
    def online(self) -> list[str]:
        """Devices that have not said good-bye."""
        return [link.device_id for link in self._links.values() if link.is_wanted]

    @property
    def refusals(self) -> Iterable[tuple[str, str]]:
        """Devices that are not let in, and why."""
        return [(link.device_id, link.refusal) for link in self._links.values() if link.refusal is not None]

    @property
    def troubles(self) -> list[str]:
        """Why devices that want to connect cannot, one entry a device."""
        return [link.trouble for link in self._links.values() if link.trouble is not None]

    def pump(self, timeout_s: float) -> None:
        """Publish what the window allows, then take in acknowledgements for at most `timeout_s`."""
        for device_id, link in list(self._busy.items()):
            link.work(self._window)
            if link.idle:
                del self._busy[device_id]
            self._watch(link)
        for key, mask in self._selector.select(timeout_s):
            link: Link = key.data
            if mask & selectors.EVENT_READ:
                link.read()
            if mask & selectors.EVENT_WRITE:
                link.write()
            self._watch(link)
        now = time.monotonic()
        if now >= self._care_at:
            self._care_at = now + _CARE_EVERY_S
            self._care()

    def close(self) -> None:
        """Drop all connections."""
        for link in self._links.values():
            link.errands.clear()
            link.errands.append(Errand(-1, Act.LEAVE))
            link.work(self._window)
        self._selector.close()

    def _care(self) -> None:
        for link in self._links.values():
            if link.refusal is not None:
                raise Refused(f"{link.device_id} is not let in: {link.refusal}")
            link.keep_alive()
            self._watch(link)

    def _watch(self, link: Link) -> None:
        connection = link.socket
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.wants_to_write else 0)
        before = self._registered.get(link.device_id)
        if before is not None and before == (connection, mask):
            return
        if before is not None:
            self._selector.unregister(before[0])
            del self._registered[link.device_id]
        if connection is not None:
            self._selector.register(connection, mask, link)
            self._registered[link.device_id] = (connection, mask)

    def _done(self, errand: Errand) -> None:
        packet = errand.packet
        if packet is not None:
            self._ledger.came_back(packet)
        if errand.step in self._open:
            self._open[errand.step] -= 1
            self._advance()

    def _advance(self) -> None:
        while self._next_step in self._complete and not self._open.get(self._next_step, 0):
            self._open.pop(self._next_step, None)
            self._complete.discard(self._next_step)
            step = self._next_step
            self._next_step += 1
            self._settled(step)


def wait_until_let_in(target: Target, account: Account, within_s: float = 15.0) -> None:
    """Wait until a gateway that has just been told of its devices knows this one. Raises Refused."""
    deadline = time.monotonic() + within_s
    while True:
        link = Link(account, target, lambda _packet: None, lambda _errand: None)
        refusal = link.try_to_connect(2.0)
        if refusal is None:
            return
        if time.monotonic() > deadline:
            raise Refused(f"{account.device_id} is not let in: {refusal}")
        time.sleep(0.2)
