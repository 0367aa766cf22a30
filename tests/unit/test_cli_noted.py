"""Who a command says has given it."""

import getpass
import os

import pytest

from gateway.cli.noted import user_name


def test_a_container_without_an_account_of_that_number_has_the_number_for_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 20001")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == f"uid-{os.getuid()}"
