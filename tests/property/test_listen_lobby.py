"""Whatever comes and goes, the lobby keeps its bounds, forgets nobody, and starves no address."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.doors.listen.lobby import Lobby

MOST_WAITING, MOST_GREETED = 6, 3


class Visits(RuleBasedStateMachine):
    """The lobby beside two plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.lobby: Lobby[str] = Lobby(MOST_WAITING, MOST_GREETED)
        self.waiting: list[str] = []
        self.greeted: list[str] = []
        self.number = 0

    @rule(address=st.sampled_from("abcd"))
    def arrive(self, address: str) -> None:
        """One comes, and perhaps another has to go for it."""
        self.number += 1
        guest = f"{address}{self.number}"
        crowds = {one: sum(other[0] == one for other in self.waiting) for one in "abcd"}
        gone = self.lobby.arrive(guest, address)
        self.waiting.append(guest)
        if len(self.waiting) <= MOST_WAITING:
            assert gone is None
            return
        assert gone is not None
        self.waiting.remove(gone)
        assert gone == guest or crowds[gone[0]] == max(crowds.values()) > crowds[address]
        assert gone != guest or crowds[address] == max(crowds.values())

    @precondition(lambda self: self.lobby.has_room)
    @rule()
    def call(self) -> None:
        """Somebody's turn."""
        guest = self.lobby.call()
        if guest is None:
            assert self.waiting == []
            return
        assert guest == next(one for one in self.waiting if one[0] == guest[0])  # in the order of its address
        self.waiting.remove(guest)
        self.greeted.append(guest)

    @precondition(lambda self: self.waiting or self.greeted)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """One goes, wherever it is."""
        guest = data.draw(st.sampled_from(self.waiting + self.greeted))
        self.lobby.leave(guest, guest[0])
        for guests in (self.waiting, self.greeted):
            if guest in guests:
                guests.remove(guest)

    @rule()
    def make_room(self) -> None:
        """The slowest is named."""
        slowest = self.lobby.slowest()
        if slowest is None:
            assert not self.greeted or len({guest[0] for guest in self.waiting}) <= 1
        else:
            assert any(guest[0] != slowest[0] for guest in self.waiting)
            sizes = {one: sum(other[0] == one for other in self.greeted) for one in "abcd"}
            assert sizes[slowest[0]] == max(sizes.values())
            assert slowest == next(one for one in self.greeted if one[0] == slowest[0])

    @invariant()
    def is_counted(self) -> None:
        """The counts are right, and within their bounds."""
        assert (self.lobby.waiting, self.lobby.greeted) == (len(self.waiting), len(self.greeted))
        assert self.lobby.waiting <= MOST_WAITING

    def teardown(self) -> None:
        """Every address is called within as many turns as there are addresses."""
        addresses = {guest[0] for guest in self.waiting}
        called = {guest[0] for _ in addresses if (guest := self.lobby.call()) is not None}
        assert called == addresses


TestVisits = Visits.TestCase
TestVisits.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
