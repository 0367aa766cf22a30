"""What the documents of delivery show is true."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crm_sync.endpoints import BreakerSettings
from crm_sync.settings import EndpointSettings, MessageType
from crm_sync.signing import parse_secret, sign

DOCS = Path(__file__).parents[2] / "docs"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def believe() -> Callable[[dict[str, str], bytes], bool]:
    """The receiver's function as the document prints it."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "webhooks.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Callable[[dict[str, str], bytes], bool]] = {}
    exec(code, names)  # noqa: S102 - a document of ours
    return names["believe"]


def test_the_printed_receiver_believes_what_we_sign(believe: Callable[[dict[str, str], bytes], bool]) -> None:
    body = '{"data": {"title": "größer"}}'.encode()
    keys = [parse_secret("whsec_" + "QUJD" * 8), parse_secret(SECRET)]
    assert believe(sign(keys, "msg_1", int(time.time()), body), body)


def test_the_printed_receiver_refuses_everything_else(believe: Callable[[dict[str, str], bytes], bool]) -> None:
    body, now_s = b"{}", int(time.time())
    good = sign([parse_secret(SECRET)], "msg_1", now_s, body)
    assert not believe(good, body + b" ")
    assert not believe(sign([parse_secret("whsec_" + "QUJD" * 8)], "msg_1", now_s, body), body)
    assert not believe(sign([parse_secret(SECRET)], "msg_1", now_s - 400, body), body)
    assert not believe(good | {"webhook-timestamp": "1e9"}, body)


@pytest.mark.parametrize("setting", [*EndpointSettings.model_fields, *BreakerSettings.model_fields])
def test_every_setting_of_an_endpoint_is_explained(setting: str) -> None:
    assert f"`{setting}`" in (DOCS / "delivery.md").read_text("utf-8")


@pytest.mark.parametrize("kind", MessageType)
def test_every_message_type_is_explained(kind: MessageType) -> None:
    assert f"`{kind}`" in (DOCS / "webhooks.md").read_text("utf-8")
