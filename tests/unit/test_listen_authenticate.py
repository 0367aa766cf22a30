"""Who is let in, by password or by certificate."""

import pytest

from devices.credentials import Hashed, hash_chosen, hash_generated
from devices.registry.model import Credential
from gateway.doors.authenticate import RegistryAuthenticator


def credential(device_id: str, hashed: Hashed, credential_id: int = 1) -> Credential:
    return Credential(credential_id, "default", device_id, hashed.scheme, hashed.salt, hashed.digest)


@pytest.fixture(scope="module")
def chosen() -> Hashed:
    return hash_chosen("horse")


@pytest.fixture
def authenticator(chosen: Hashed) -> RegistryAuthenticator:
    found = RegistryAuthenticator(with_certificates=True)
    found.put("d1", [credential("d1", hash_generated("secret"))])
    found.put("d2", [credential("d2", chosen, 2)])
    return found


@pytest.mark.parametrize(
    ("username", "password", "names", "device"),
    [
        ("d1", b"secret", (), "d1"),
        ("d1", b"secrets", (), None),
        ("d1", b"", (), None),
        ("d1", b"\xff", (), None),
        ("d2", b"horse", (), "d2"),
        ("d2", b"secret", (), None),
        ("d3", b"secret", (), None),
        ("", b"secret", (), None),
        (None, b"secret", (), None),
        (None, None, (), None),
        ("d1", None, (), None),
        (None, None, ("d1",), "d1"),
        (None, None, ("unknown",), None),
        (None, None, ("d1", "d2"), None),
        ("d1", None, ("d1", "d2"), "d1"),
        ("d1", None, ("d2",), None),
        ("d1", b"secret", ("the whole fleet",), "d1"),
        ("d1", b"secret", ("d1",), "d1"),
        ("d1", b"secret", ("d2",), None),
        ("d1", b"wrong", ("d1",), None),
    ],
)
def test_who_is_let_in(
    authenticator: RegistryAuthenticator,
    username: str | None,
    password: bytes | None,
    names: tuple[str, ...],
    device: str | None,
) -> None:
    assert authenticator.authenticate(username, password, "any client id", names) == device


def test_a_chosen_password_is_slow_once(authenticator: RegistryAuthenticator) -> None:
    assert not authenticator.is_slow("d1", b"secret")
    assert not authenticator.is_slow("unknown", b"x")
    assert authenticator.is_slow("d2", b"horse")
    assert authenticator.authenticate("d2", b"horse", "", ()) == "d2"
    assert not authenticator.is_slow("d2", b"horse")
    assert authenticator.authenticate("d2", b"horse", "", ()) == "d2"
    assert authenticator.is_slow("d2", b"donkey")
    assert authenticator.authenticate("d2", b"donkey", "", ()) is None


def test_a_second_credential_lets_in_beside_the_first(authenticator: RegistryAuthenticator) -> None:
    old = credential("d1", hash_generated("secret"))
    assert not authenticator.put("d1", [credential("d1", hash_generated("another"), 7), old])
    assert [authenticator.authenticate("d1", word, "", ()) for word in (b"secret", b"another")] == ["d1", "d1"]
    assert authenticator.put("d1", [credential("d1", hash_generated("another"), 7)])  # the old one is taken away
    assert authenticator.authenticate("d1", b"secret", "", ()) is None


def test_without_certificates_a_device_needs_a_password(chosen: Hashed) -> None:
    authenticator = RegistryAuthenticator()
    authenticator.put("d1", [])
    assert authenticator.authenticate(None, None, "", ("d1",)) is None
    assert not authenticator.remove("d1")
    authenticator.put("d2", [credential("d2", chosen)])
    assert authenticator.remove("d2")


def test_who_is_removed_stays_out(authenticator: RegistryAuthenticator) -> None:
    authenticator.authenticate("d2", b"horse", "", ())
    authenticator.remove("d2")
    assert authenticator.authenticate("d2", b"horse", "", ()) is None
    assert authenticator.authenticate(None, None, "", ("d2",)) is None


def test_a_password_that_was_proved_is_worth_nothing_once_it_is_revoked(
    authenticator: RegistryAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked_meanwhile(_credential: Credential, _password: bytes) -> bool:
        authenticator.remove("d2")
        authenticator.put("d2", [credential("d2", hash_generated("renewed"), 3)])
        return True

    monkeypatch.setattr("gateway.doors.authenticate.verify", revoked_meanwhile)
    authenticator.authenticate("d2", b"horse", "", ())  # proved, while it is being revoked
    monkeypatch.undo()
    assert authenticator.authenticate("d2", b"horse", "", ()) is None
    assert authenticator.authenticate("d2", b"renewed", "", ()) == "d2"


def test_who_came_in_by_the_newer_of_two_passwords_stays_when_the_older_one_is_taken_away(
    authenticator: RegistryAuthenticator, chosen: Hashed
) -> None:
    generated, by_hand = credential("d1", hash_generated("new"), 7), credential("d1", chosen, 8)
    authenticator.put("d1", [credential("d1", hash_generated("secret")), generated, by_hand])
    came_by: dict[bytes, int | None] = {}
    for word in (b"secret", b"new", b"horse"):
        assert authenticator.authenticate("d1", word, "", ()) == "d1"
        came_by[word] = authenticator.credential_of("d1", word)
    assert came_by == {b"secret": 1, b"new": 7, b"horse": 8}

    assert authenticator.put("d1", [generated, by_hand])
    assert [authenticator.stands("d1", number) for number in (1, 7, 8)] == [False, True, True]
    assert not authenticator.stands("d2", 7)  # another device's
    authenticator.remove("d1")
    assert not authenticator.stands("d1", 7)


def test_nobody_knows_by_which_password_a_certificate_came_in(authenticator: RegistryAuthenticator) -> None:
    assert authenticator.credential_of(None, None) is None
    assert authenticator.credential_of("d1", None) is None
    assert authenticator.credential_of("d2", b"horse") is None  # not proved
