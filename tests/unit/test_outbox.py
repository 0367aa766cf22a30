"""The body of a message, and the settings of an endpoint."""

from typing import Any, cast

import msgspec
import pytest
from pydantic import ValidationError

from crm_sync.adapters import build_adapters, load_adapters
from crm_sync.outbox import MAX_BODY_BYTES, OutboxMessage, encode_body, new_message_id
from crm_sync.settings import CrmSettings, EndpointSettings, MessageType
from devices.errors import ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GOOD = {"name": "crm", "url": "https://crm.example.com/hook", "secret": SECRET}


def body_of(**data: object) -> dict[str, object]:
    message = OutboxMessage("default", "crm", "case_a", MessageType.CASE_OPENED, data, 1_800_000_000.25)
    body = encode_body(message)
    assert len(body) < MAX_BODY_BYTES
    return msgspec.json.decode(body, type=dict[str, object])


def test_a_body_says_what_when_and_about_which_case() -> None:
    assert body_of(case_id="case_a", title="Größer") == {
        "type": "case.opened",
        "timestamp": "2027-01-15T08:00:00.250Z",
        "data": {"case_id": "case_a", "title": "Größer"},
    }


def test_what_is_too_long_is_clipped_from_its_oldest_end_and_says_so() -> None:
    alarms = [{"alarm_id": f"alm_{number}", "evidence": [[at, 0.5] for at in range(3000)]} for number in range(3)]
    data = cast("Any", body_of(case_id="case_a", brief="word " * 10_000, alarms=alarms)["data"])
    assert data["case_id"] == "case_a"
    assert data["truncated"] is True
    assert [alarm["alarm_id"] for alarm in data["alarms"]] == ["alm_0", "alm_1", "alm_2"]
    assert data["alarms"][0]["evidence"][-1] == [2999, 0.5]


def test_ids_hold_no_dots_and_never_come_twice() -> None:
    ids = {new_message_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert not any("." in each or len(each) > 64 for each in ids)


def faults(**changed: object) -> list[tuple[tuple[str | int, ...], str, object]]:
    with pytest.raises(ValidationError) as raised:
        CrmSettings.model_validate({"endpoints": [GOOD | changed]})
    return [(error["loc"], error["msg"], error["input"]) for error in raised.value.errors()]


@pytest.mark.parametrize(
    ("changed", "setting", "words"),
    [
        ({"url": "http://crm.example.com/"}, "url", "only https"),
        ({"url": "https://127.0.0.1/"}, "url", "allow_networks"),
        ({"url": "https://2130706433/"}, "url", "allow_networks"),
        ({"url": "https://0177.0.0.1/"}, "url", "Invalid IPv4"),
        ({"url": "https://localhost/"}, "url", "allow_networks"),
        ({"url": "https://crm.example.com:8443/"}, "url", "port 8443"),
        ({"url": "https://a:hunter2@crm.example.com/"}, "url", "user name and password"),
        ({"url": "https://exa mple.com\x00/"}, "url", ""),
        ({"secret": "hunter2"}, "secret", "24 to 64 random bytes"),
        ({"previous_secret": "hunter2"}, "previous_secret", "24 to 64 random bytes"),
        ({"callback_secret": "hunter2"}, "callback_secret", "24 to 64 random bytes"),
        ({"secret": ""}, "secret", "exactly one"),
        ({"secret_file": "/run/secrets/crm"}, "secret", "exactly one"),
        ({"schedule": [5, 10]}, "schedule", "starts with 0"),
        ({"schedule": []}, "schedule", "at least 1"),
        ({"timeout": "45s"}, "timeout", "less than or equal to 30"),
        ({"jitter": 1.5}, "jitter", "less than or equal"),
        ({"allow_networks": ["10.0.0.1/8"]}, "allow_networks", "host bits"),
        ({"types": ["case.exploded"]}, "types", "case.opened"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_shown(changed: dict[str, object], setting: str, words: str) -> None:
    (loc, message, found), *_ = faults(**changed)
    assert loc[:3] == ("endpoints", 0, setting)
    assert words in message
    assert "hunter2" not in f"{message} {found}"
    assert SECRET not in f"{message} {found}"


def test_what_runs_inside_can_be_named() -> None:
    inside = GOOD | {
        "url": "http://10.20.1.2:8069/hook",
        "allow_http": True,
        "allow_networks": ["10.20.0.0/16"],
        "ports": [8069],
    }
    assert EndpointSettings.model_validate(inside).allowance.http


def test_an_unknown_adapter_is_a_fault_with_the_known_ones() -> None:
    endpoint = EndpointSettings.model_validate(GOOD | {"adapter": "carrier-pigeon"})
    with pytest.raises(ConfigError, match=r"crm\.adapter.*webhook"):
        build_adapters([endpoint], load_adapters())


def test_a_secret_file_that_is_missing_or_holds_none_is_a_fault() -> None:
    missing = EndpointSettings.model_validate(GOOD | {"secret": "", "secret_file": "/nowhere/secret"})
    with pytest.raises(ConfigError, match=r"crm\.secret_file"):
        build_adapters([missing], load_adapters())
