"""Who has come and is not let in yet: turns that go round between addresses, and who has to give way."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Guest = TypeVar("Guest", bound=Hashable)


class Crowd(Generic[Guest]):
    """Guests by address, in the order of their coming; the most crowded address is known at any time."""

    def __init__(self) -> None:
        self._by_address: dict[str, dict[Guest, None]] = {}  # the addresses in the order of their turns
        self._by_size: dict[int, dict[str, None]] = {}
        self._largest = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def size(self, address: str) -> int:
        """How many of an address there are."""
        return len(self._by_address.get(address, ()))

    def add(self, address: str, guest: Guest) -> None:
        """One more of an address."""
        guests = self._by_address.setdefault(address, {})
        guests[guest] = None
        self._count += 1
        self._moved(address, len(guests) - 1, len(guests))

    def remove(self, address: str, guest: Guest) -> bool:
        """One less of an address; whether the guest was here."""
        guests = self._by_address.get(address, {})
        if guest not in guests:
            return False
        del guests[guest]
        if not guests:
            del self._by_address[address]
        self._count -= 1
        self._moved(address, len(guests) + 1, len(guests))
        return True

    def next(self) -> tuple[str, Guest] | None:
        """The oldest guest of the address whose turn it is, and that address goes to the end of the round."""
        for address, guests in self._by_address.items():
            del self._by_address[address]
            self._by_address[address] = guests
            return address, next(iter(guests))
        return None

    def oldest_of_most(self) -> tuple[str, Guest] | None:
        """The oldest guest of the most crowded address."""
        for address in self._by_size.get(self._largest, ()):
            return address, next(iter(self._by_address[address]))
        return None

    def has_other_than(self, address: str) -> bool:
        """Whether there is a guest of another address."""
        return len(self._by_address) > (address in self._by_address)

    def newest_of_most(self) -> tuple[str, Guest] | None:
        """The newest guest of the most crowded address."""
        for address in self._by_size.get(self._largest, ()):
            return address, next(reversed(self._by_address[address]))
        return None

    def _moved(self, address: str, before: int, after: int) -> None:
        if before:
            addresses = self._by_size[before]
            del addresses[address]
            if not addresses:
                del self._by_size[before]
        if after:
            self._by_size.setdefault(after, {})[address] = None
        if after > self._largest or self._largest not in self._by_size:
            self._largest = after  # sizes change by one: where the largest crowd has shrunk, it is the largest still


class Lobby(Generic[Guest]):
    """First one waits for a turn, then one introduces oneself: handshake and CONNECT. Both are bounded.

    Turns go round between addresses, and where there is no room the most crowded address gives way, so that whoever
    floods the door from one address keeps only that address waiting.
    """

    def __init__(self, most_waiting: int, most_greeted: int) -> None:
        self._most_waiting = most_waiting
        self._most_greeted = most_greeted
        self._waiting: Crowd[Guest] = Crowd()
        self._greeted: Crowd[Guest] = Crowd()

    @property
    def waiting(self) -> int:
        """Guests that wait for their turn."""
        return len(self._waiting)

    @property
    def greeted(self) -> int:
        """Guests that may introduce themselves."""
        return len(self._greeted)

    @property
    def has_room(self) -> bool:
        """Whether one more may introduce itself."""
        return len(self._greeted) < self._most_greeted

    def arrive(self, guest: Guest, address: str) -> Guest | None:
        """A guest comes; who has to go for it, which may be itself: the newest of the most crowded address."""
        gone: Guest | None = None
        if len(self._waiting) >= self._most_waiting:
            crowded = self._waiting.newest_of_most()
            if crowded is None or self._waiting.size(address) >= self._waiting.size(crowded[0]):
                return guest
            gone = crowded[1]
            self._waiting.remove(*crowded)
        self._waiting.add(address, guest)
        return gone

    def call(self) -> Guest | None:
        """Whose turn it is to introduce itself; None while nobody waits."""
        found = self._waiting.next()
        if found is None:
            return None
        address, guest = found
        self._waiting.remove(address, guest)
        self._greeted.add(address, guest)
        return guest

    def slowest(self) -> Guest | None:
        """Who gives way when others wait and there is no room: the oldest guest of the most crowded address.

        None where nobody of another address waits: a crowd that only waits for itself is not made to start again.
        """
        found = self._greeted.oldest_of_most()
        return found[1] if found is not None and self._waiting.has_other_than(found[0]) else None

    def leave(self, guest: Guest, address: str) -> None:
        """A guest has been let in, or has gone."""
        if not self._waiting.remove(address, guest):
            self._greeted.remove(address, guest)
