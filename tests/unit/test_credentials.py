"""What devices sign in with."""

import pytest

from devices.credentials import SHORTEST_GENERATED, Hashed, hash_chosen, hash_generated, new_secret, verify


def test_secrets_are_long_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(secret) >= SHORTEST_GENERATED for secret in secrets)
    assert all(secret.isascii() and secret.isprintable() for secret in secrets)


@pytest.mark.parametrize("hashed", [hash_generated("sesame"), hash_chosen("sesame")], ids=["generated", "chosen"])
def test_only_the_right_password_passes(hashed: Hashed) -> None:
    assert verify(hashed, "sesame")
    assert verify(hashed, b"sesame")
    for wrong in ("", "Sesame", "sesame ", b"\xff\xfe", "\ud800", "sesame\0"):
        assert not verify(hashed, wrong)


def test_the_secret_itself_is_not_kept() -> None:
    for hashed in (hash_generated("sesame"), hash_chosen("sesame")):
        assert b"sesame" not in hashed.salt + hashed.digest


def test_one_password_of_two_devices_looks_different() -> None:
    assert hash_generated("sesame").digest != hash_generated("sesame").digest
    assert hash_chosen("sesame").digest != hash_chosen("sesame").digest


def test_a_chosen_password_is_stretched() -> None:
    """Its digest is not simply the hash that a generated one has."""
    chosen = hash_chosen("sesame")
    assert not verify(Hashed("sha256", chosen.salt, chosen.digest), "sesame")
