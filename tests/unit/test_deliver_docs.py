"""What the documents of delivery show is true."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crm_sync.adapters.http import MAX_KEPT_BYTES, MAX_RETRY_AFTER_S
from crm_sync.delivery.settle import MIN_FAILED_ATTEMPTS
from crm_sync.endpoints import LEASE_S, BreakerSettings
from crm_sync.outbox import MAX_BODY_BYTES
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


def test_every_test_that_a_promise_names_is_there() -> None:
    promised = set(re.findall(r"`(test_\w+)`", (DOCS / "delivery.md").read_text("utf-8")))
    there = {
        name
        for path in (DOCS.parent / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }
    assert len(promised) > 50
    assert promised - there == set()


def test_the_figures_are_those_of_this_page() -> None:
    given = {"name": "crm", "url": "https://crm.example.com/hook", "secret": SECRET}
    webhook = EndpointSettings.model_validate(given)
    crm = EndpointSettings.model_validate({**given, "adapter": "zendesk"})
    assert LEASE_S == 60
    assert (webhook.connect_timeout, webhook.timeout, crm.timeout) == (5, 15, 30)
    assert (len(webhook.schedule), sum(webhook.schedule), webhook.jitter) == (10, (75 * 60 + 35) * 60 + 5, 0.2)
    assert (webhook.disable_after, MIN_FAILED_ATTEMPTS) == (120 * 3600, 10)
    breaker = webhook.breaker
    assert (breaker.failures, breaker.share, breaker.calls, breaker.window) == (5, 0.5, 20, 60)
    assert (breaker.probe_after, breaker.probe_at_most) == (30, 15 * 60)
    assert (MAX_BODY_BYTES, MAX_KEPT_BYTES, MAX_RETRY_AFTER_S) == (20_000, 4_000, 86_400)
