"""Values of an account that nobody is to read."""

import pytest

from crm_sync.adapters.rest.account import says_secret, secrets_of


@pytest.mark.parametrize(
    "name", ["app_token", "api_key", "apikey", "client_secret", "password", "access_key", "passphrase", "private_key"]
)
def test_a_name_says_that_it_is_a_secret(name: str) -> None:
    assert says_secret(name)


@pytest.mark.parametrize(
    "name", ["key_field", "key_property", "token_field", "stage_closed", "team", "api", "password_file", "monkey"]
)
def test_names_of_fields_and_files_are_none(name: str) -> None:
    assert not says_secret(name)


def test_a_secret_is_known_in_every_way_in_which_a_request_may_bear_it() -> None:
    found = secrets_of({"api_key": 'p/ä "1"', "app_token": "abc", "team": "service", "pin_secret": 12345})
    assert {'p/ä "1"', "p%2F%C3%A4%20%221%22", "p%2F%C3%A4+%221%22", "12345"} <= set(found)
    assert '\\"1\\"' in " ".join(found)
    assert not {"abc", "service"} & set(found)
