"""What the built-in CRMs' files promise, and what they refuse."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from crm_sync.adapters import load_adapters, open_inbound
from crm_sync.adapters.contract import Hook
from crm_sync.adapters.rest import calls, hearing, spec
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.adapters.rest.limits import Bucket, Limits
from crm_sync.settings import CASE_TYPES, EndpointSettings
from crm_sync.signing import BadSignature
from devices.errors import ConfigError
from simulators.crm.vendors import VENDORS
from simulators.crm.vendors.hubspot import Hubspot
from simulators.crm.vendors.salesforce import Salesforce
from simulators.crm.vendors.serve import FLAVOURS, settings_for
from tests.services.crm_parties import HOOK_KEY, PARTIES, Party, settings

NAMED = [party for party in PARTIES if party.adapter not in {"webhook", "rest"}]
PUBLISHED = {  # requests and seconds, of the smallest plan, as the vendors' pages have them
    "zendesk": (200, 60),
    "hubspot": (100, 10),
    "salesforce": (100_000, 86_400),
    "dynamics365": (6_000, 300),
}


def endpoint(name: str, **more: Any) -> EndpointSettings:
    """An endpoint as a company would have it."""
    party = next(party for party in PARTIES if party.name == name)
    given = settings(party, "http://127.0.0.1:9").model_dump(exclude_unset=True)
    return EndpointSettings.model_validate({**given, **more})


@pytest.fixture(params=NAMED, ids=lambda party: party.name)
def party(request: pytest.FixtureRequest) -> Party:
    """Each named CRM."""
    return request.param


def test_at_most_half_of_what_the_vendor_allows_is_used(party: Party) -> None:
    adapter = load_adapters()[party.adapter](settings(party, "http://127.0.0.1:9"))
    assert isinstance(adapter, RestAdapter)
    requests, seconds = PUBLISHED[party.name]
    limits = adapter.spec.limits
    assert limits.requests / limits.per <= requests / seconds / 2
    assert limits.in_flight <= 8


def test_what_can_wait_leaves_room_for_what_cannot() -> None:
    bucket = Bucket(Limits(requests=101, per=101), 0.0)
    for _ in range(80):
        bucket.spend(0.0)
    assert bucket.wait_s(0.0) == 0
    assert bucket.wait_s(0.0, can_wait=True) == pytest.approx(5)  # 26 of 101 are left to deliveries


def test_a_crm_takes_cases_and_has_half_a_minute(party: Party) -> None:
    given = settings(party, "http://127.0.0.1:9")
    assert given.types == CASE_TYPES
    assert given.timeout == 30


def test_an_accounts_value_that_nothing_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"account.stage_oepn"):
        load_adapters()["hubspot"](endpoint("hubspot", account={"stage_oepn": "1"}))


def test_a_file_is_laid_over_the_built_in_one(tmp_path: Any) -> None:
    over = tmp_path / "over.toml"
    over.write_text('[maps.priority]\nmajor = "urgent"\n[create.body.ticket]\nbrand_id = "{account.requester_id}"\n')
    adapter = load_adapters()["zendesk"](endpoint("zendesk", spec_file=str(over), account={"requester_id": 4711}))
    assert isinstance(adapter, RestAdapter)
    assert adapter.spec.maps["priority"] == {
        "info": "low",
        "minor": "normal",
        "major": "urgent",
        "critical": "urgent",
    }
    assert adapter.spec.create.body["ticket"]["brand_id"] == 4711
    assert adapter.spec.create.body["ticket"]["external_id"] == "{case_id}"


@pytest.mark.parametrize("name", ["zendesk", "salesforce", "dynamics365"])
def test_a_record_is_put_into_its_teams_queue_by_what_the_page_lays_over(name: str, tmp_path: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "crm" / "README.md").read_text()
    over = tmp_path / "over.toml"
    over.write_text(page.split(f"# {name}: ")[1].partition("\n")[2].split("\n\n")[0].partition("```")[0])
    adapter = load_adapters()[name](endpoint(name, spec_file=str(over)))
    assert isinstance(adapter, RestAdapter)
    assert ("team", "group") in adapter.spec.create.places()
    assert "service" in adapter.spec.maps["group"]


def test_zendesks_public_test_secret_is_refused() -> None:
    known = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="
    with pytest.raises(ConfigError, match="everybody knows"):
        open_inbound(endpoint("zendesk", callback_token=known), load_adapters())


def test_hubspots_hooks_want_the_address_that_is_signed() -> None:
    with pytest.raises(ConfigError, match="callback_url"):
        open_inbound(endpoint("hubspot", account={}), load_adapters())
    wrong = endpoint("hubspot", account={"callback_url": "http://gateway.example.com/v1/callbacks/crm"})
    inbound = open_inbound(wrong, load_adapters())
    assert inbound is not None
    hook = Hubspot("t").hook([], 1_800_000_000.0, HOOK_KEY)
    with pytest.raises(BadSignature):
        inbound.verify(Hook(hook.headers, hook.body), 1_800_000_000.0)


def test_a_key_that_signs_nothing_is_refused_without_being_shown() -> None:
    for wrong in ("not a key", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"):
        with pytest.raises(ConfigError, match="private key") as caught:
            load_adapters()["salesforce"](endpoint("salesforce", token=wrong))
        assert "MIIB" not in str(caught.value)


def test_an_assertion_wants_a_user() -> None:
    with pytest.raises(ConfigError, match="audience and subject"):
        load_adapters()["salesforce"](endpoint("salesforce", account={}))


def test_dynamics_wants_its_tenant() -> None:
    with pytest.raises(ConfigError, match=r"account.tenant"):
        load_adapters()["dynamics365"](endpoint("dynamics365", account={}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b"\xff\xfe",
        b'{"Id": "500"}',
    ],
)
def test_an_outbound_message_that_is_none_is_unreadable_and_expands_nothing(body: bytes) -> None:
    inbound = open_inbound(endpoint("salesforce"), load_adapters())
    assert inbound is not None
    with pytest.raises(ValueError, match=r"."):
        inbound.read(body)


def test_an_outbound_message_without_records_says_nothing() -> None:
    inbound = open_inbound(endpoint("salesforce"), load_adapters())
    assert inbound is not None
    assert list(inbound.read(Salesforce("t").hook([], 0.0, HOOK_KEY).body)) == []


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_settings_that_an_imitated_crm_prints_are_good(flavour: str) -> None:
    printed = settings_for(flavour, "http://127.0.0.1:8090", None, "t0ken", "hook-key")
    (given,) = tomllib.loads(printed)["crm"]["endpoints"]
    if flavour == "example":
        given["spec_file"] = str(Path(__file__).parents[2] / given["spec_file"])
    printed_endpoint = EndpointSettings.model_validate(given)
    assert isinstance(load_adapters()[printed_endpoint.adapter](printed_endpoint), RestAdapter)
    assert open_inbound(printed_endpoint, load_adapters()) is not None


def test_every_key_of_a_helpdesks_file_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "crm" / "rest.md").read_text()
    sections = [
        section
        for module in (calls, hearing, spec)
        for section in vars(module).values()
        if isinstance(section, type) and issubclass(section, BaseModel)
    ]
    keys = {key for section in sections for key in section.model_fields}
    missing = sorted(key for key in keys if not re.search(rf"`([^`]*\.)?{key}( =[^`]*)?(\.[^`]*)?`", page))
    assert missing == []


def test_hooks_of_the_old_secret_are_believed_while_it_is_replaced(party: Party) -> None:
    vendor = VENDORS[party.name]("t0ken")
    now_s = 1_800_000_000.0
    record = vendor.book.open_by_people("owner-1", vendor.word("open"), now_s)
    until = "2027-01-15T09:00:00Z"  # an hour later
    inbound = open_inbound(
        endpoint(party.name, callback_token="new", previous_callback_token="old", previous_secret_until=until),
        load_adapters(),
    )
    assert inbound is not None
    for secret, at_s, is_believed in (
        ("new", now_s, 1),
        ("old", now_s, 1),
        ("old", now_s + 3600, 0),
        ("other", now_s, 0),
    ):
        sent = vendor.hook([record], at_s, secret)
        hook = Hook(dict(sent.headers), sent.body, dict(sent.query))
        if is_believed:
            assert inbound.verify(hook, at_s)
        else:
            with pytest.raises(BadSignature):
                inbound.verify(hook, at_s)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "docs" / "crm").glob("*.toml")), ids=lambda file: file.stem
)
def test_every_file_that_is_shown_is_one_that_can_be_used(file: Path) -> None:
    given = {"name": "crm", "adapter": "rest", "url": "https://desk.example.com", "spec_file": str(file)}
    described = RestAdapter(EndpointSettings.model_validate({**given, "user": "careloop", "token": "a token"})).spec
    tables = (described.find, described.read, described.note, described.poll)
    assert None not in tables  # what the page says a good one has
