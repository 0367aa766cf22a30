"""Who waits before the listen door, whose turn it is, and who gives way."""

from gateway.doors.listen.lobby import Lobby


def lobby_of(*guests: str, most_waiting: int = 100, most_greeted: int = 100) -> Lobby[str]:
    """Guests such as `a1`, whose address is their first letter."""
    lobby: Lobby[str] = Lobby(most_waiting, most_greeted)
    for guest in guests:
        assert lobby.arrive(guest, guest[0]) is None
    return lobby


def call_all(lobby: Lobby[str]) -> list[str]:
    called: list[str] = []
    while (guest := lobby.call()) is not None:
        called.append(guest)
    return called


def test_addresses_take_turns() -> None:
    lobby = lobby_of("a1", "a2", "a3", "a4", "b1", "c1", "b2")
    assert call_all(lobby) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]
    assert (lobby.waiting, lobby.greeted) == (0, 7)


def test_who_comes_while_others_are_called_has_the_next_turn_of_its_address() -> None:
    lobby = lobby_of("a1", "a2", "a3")
    assert lobby.call() == "a1"
    lobby.arrive("b1", "b")
    assert call_all(lobby) == ["a2", "b1", "a3"]


def test_the_newest_of_the_most_crowded_address_gives_way() -> None:
    lobby = lobby_of("a1", "b1", "a2", "a3", most_waiting=4)
    assert lobby.arrive("b2", "b") == "a3"
    assert lobby.arrive("c1", "c") == "a2"  # a and b are as crowded; a has been so for longer
    assert lobby.arrive("b3", "b") == "b3"  # one of its own would have to go for it
    assert call_all(lobby) == ["a1", "b1", "c1", "b2"]


def test_the_slowest_of_the_most_crowded_address_makes_room() -> None:
    lobby = lobby_of("a1", "b1", "b2", most_greeted=3)
    assert lobby.has_room
    assert call_all(lobby) == ["a1", "b1", "b2"]
    assert not lobby.has_room
    lobby.arrive("b3", "b")
    assert lobby.slowest() is None  # who waits is of the same address
    lobby.arrive("c1", "c")
    assert lobby.slowest() == "b1"
    lobby.leave("b1", "b")
    assert lobby.has_room
    lobby.leave("b1", "b")  # once more does nothing
    lobby.leave("b2", "b")
    assert lobby.slowest() == "a1"
    lobby.leave("a1", "a")
    assert (lobby.slowest(), lobby.greeted) == (None, 0)
    assert call_all(lobby) == ["b3", "c1"]


def test_who_leaves_before_its_turn_is_not_called() -> None:
    lobby = lobby_of("a1", "a2", "b1")
    lobby.leave("a1", "a")
    assert call_all(lobby) == ["a2", "b1"]
