"""Every page that the console has: shut to strangers, readable by anybody, on a wide and on a narrow screen."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import MagicMock

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, expect

from gateway.console.app import ROUTERS
from gateway.database.postmaster import wait_until
from simulators.crm.records import Message
from tests.services.chromium import Window, open_window
from tests.services.console import PASSWORD, WITHIN_S, ConsoleWorld

expect.set_options(timeout=240_000)

WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
NO_PAGES = {"/devices/{device_id}/tail", "/backtests/{job_id}/picture.png"}
"""What pages load: a stream, and a picture."""
OPEN = "/sign-in"
CARD = {
    "lost": 0,
    "acknowledged": 1000,
    "duplicate_rows": 0,
    "recall": 0.9,
    "precision": 0.8,
    "median_time_to_detect_h": 2.0,
    "latency_s": {"alarm_to_crm_p99": 0.4},
    "faults": {
        "by_kind": {
            "stuck": {"injected": 3, "watched": 3, "detected": 2, "median_time_to_detect_h": 4.0},
            "decline": {"injected": 3, "watched": 0, "detected": 0, "median_time_to_detect_h": None},
        }
    },
    "cases": {"opened": 3, "resolved": 2, "retracted": 0, "duplicate": 0},
    "crm": {"records": 3, "duplicate_records": 0, "missing": 0},
    "readings_per_s": 12.5,
}


def pages() -> set[str]:
    """The paths of all pages, as the console's own routers have them: a new one cannot be forgotten here."""
    console = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for make in ROUTERS:
        make(MagicMock()).install(console)
    routes = [route for route in console.routes if isinstance(route, APIRoute)]
    return {route.path for route in routes if "GET" in (route.methods or ())} - NO_PAGES


@pytest.fixture(scope="module")
def places(console_world: ConsoleWorld) -> Mapping[str, str]:
    """Where each page has something to show."""
    gateway = console_world.gateway
    (gateway.folder / "scorecard.json").write_text(json.dumps(CARD))
    device_id = console_world.heat()
    case_id = console_world.case_of(device_id, "proposed")["case_id"]
    console_world.decide(case_id, "approve")
    console_world.record_of(case_id)
    console_world.babble(device_id)
    assert wait_until(lambda: bool(gateway.ask("/v1/quarantine", device_id=device_id)["items"]), WITHIN_S)
    found: dict[str, str] = {path: path for path in pages() if "{" not in path}
    return found | {
        "/cases/{case_id}": f"/cases/{case_id}",
        "/devices/{device_id}": f"/devices/{device_id}",
        "/owners/{owner_ref:path}": "/owners/person-0",
        "/fleet/incidents/{incident_id}": f"/fleet/incidents/{_befall(console_world, device_id)}",
        "/deliveries/{message_id}": f"/deliveries/{gateway.ask('/v1/deliveries')['items'][0]['message_id']}",
        "/quarantine/{quarantine_id}": f"/quarantine/{gateway.ask('/v1/quarantine')['items'][0]['quarantine_id']}",
        "/watches/{model}/{watch}": "/watches/boiler/too-hot",
        "/backtests/{job_id}": _judge(console_world),
    }


def _befall(world: ConsoleWorld, device_id: str) -> str:
    """An incident that the device's alarm is part of."""
    world.gateway.query(
        "INSERT INTO incident (incident_id, tenant_id, kind, model, problems, severity, title, says, evidence, state, "
        "started_at, known_at, updated_at) VALUES ('inc_1', 'default', 'fleet_dip', 'boiler', ARRAY['overheating'], "
        "'major', 'Many boilers at once', 'One of 16 boilers', %s, 'open', now(), now(), now()) RETURNING 1",
        json.dumps([{"problem": "overheating", "devices": 1}]),
    )
    world.gateway.query(
        "INSERT INTO incident_member SELECT tenant_id, 'inc_1', alarm_id, device_id, now() FROM alarm "
        "WHERE device_id = %s RETURNING 1",
        device_id,
    )
    return "inc_1"


def _judge(world: ConsoleWorld) -> str:
    """A backtest that somebody has begun; how it ends is another test's business."""
    token = world.gateway.address["api_token"]
    begun = world.as_token(token, "POST", "/watches/boiler/too-hot/backtest", data={"days": "7", "p.above": "90"})
    assert begun.status_code == 303, begun.text
    return begun.headers["location"]


@pytest.fixture(scope="module")
def window(chromium: Browser, console_world: ConsoleWorld) -> Iterator[Window]:
    """An admin's window."""
    opened = open_window(chromium, console_world.url, bypass_csp=True)  # axe itself is no part of the pages
    opened.sign_in("anna", PASSWORD)
    yield opened
    opened.context.close()


@pytest.fixture(autouse=True)
def nothing_goes_wrong(window: Window) -> Iterator[None]:
    """No fault on any page, and nothing leaves the machine."""
    yield
    assert window.faults == []
    assert window.strangers() == []


def test_whoever_is_not_signed_in_sees_nothing(
    chromium: Browser, console_world: ConsoleWorld, places: Mapping[str, str]
) -> None:
    stranger = open_window(chromium, console_world.url)
    for path in {*places.values(), "/live", "/devices/boiler-0/tail"} - {OPEN}:
        answer = stranger.context.request.get(f"{console_world.url}{path}", max_redirects=0)
        assert answer.status in {303, 401}, path
    stranger.go("/?severity=critical")
    stranger.page.fill("[name=name]", "aldo")
    stranger.page.fill("[name=password]", "not the password")
    stranger.page.press("[name=password]", "Enter")
    expect(stranger.page.get_by_role("alert")).to_be_visible()
    stranger.page.fill("[name=password]", PASSWORD)
    stranger.page.press("[name=password]", "Enter")
    stranger.page.wait_for_url(f"{console_world.url}/?severity=critical")
    assert stranger.strangers() == []
    stranger.context.close()


LOOKS = [("light", "en", WIDE), ("dark", "it", NARROW)]


@pytest.mark.parametrize(("theme", "language", "size"), LOOKS)
def test_no_page_has_a_serious_fault_of_access_or_is_wider_than_its_screen(  # noqa: PLR0917 - fixtures and a look
    window: Window,
    chromium: Browser,
    places: Mapping[str, str],
    theme: str,
    language: str,
    size: dict[str, int],
) -> None:
    assert set(places) == pages()
    _dress(window, theme, language)
    fresh = open_window(chromium, window.base_url, bypass_csp=True, color_scheme=theme, locale=language, viewport=size)
    found: list[str] = []
    for each, paths in ((fresh, [OPEN]), (window, [*sorted({*places.values()} - {OPEN}), "/nowhere"])):
        each.page.set_viewport_size(size)  # pyright: ignore[reportArgumentType]
        for path in paths:
            each.go(path)
            expect(each.page.locator("h1")).not_to_be_empty()
            found += each.inaccessible() + each.too_wide() + each.ill_drawn()
            assert each.page.locator("html").get_attribute("lang") == language
    fresh.context.close()
    window.faults[:] = [each for each in window.faults if "/nowhere" not in each]  # which the browser tells, rightly
    assert found == []


def test_on_a_narrow_screen_a_list_shows_what_is_wrong_first(window: Window, places: Mapping[str, str]) -> None:
    assert places  # there is something in each list
    _dress(window, "light", "en")
    window.page.set_viewport_size(NARROW)  # pyright: ignore[reportArgumentType]
    window.go("/devices")
    for column in ("alarms", "cases"):
        expect(window.page.get_by_role("columnheader", name=column)).to_be_in_viewport(ratio=1)
    window.go("/deliveries")
    expect(window.page.get_by_role("columnheader", name="state")).to_be_in_viewport(ratio=1)
    window.page.set_viewport_size(WIDE)  # pyright: ignore[reportArgumentType]


def test_a_fault_of_access_would_be_found(window: Window) -> None:
    _dress(window, "light", "en")
    window.page.set_viewport_size({"width": 1280, "height": 860})
    window.go("/")
    window.page.evaluate("document.querySelector('h1').style.color = '#aaa'")
    window.page.evaluate("document.querySelector('label[for=language]').remove()")
    window.page.evaluate("document.querySelector('main').style.width = '3000px'")
    spoilt = " ".join(window.inaccessible() + window.too_wide())
    assert "color-contrast" in spoilt
    assert "select-name" in spoilt
    assert "wider than its screen" in spoilt


def test_on_a_narrow_screen_the_pages_are_behind_a_button_that_keys_work(window: Window) -> None:
    _dress(window, "light", "en")
    page = window.page
    page.set_viewport_size({"width": 390, "height": 844})
    window.go("/devices")
    side = page.locator(".side")
    folded = side.bounding_box()
    assert folded is not None
    assert folded["height"] < 844 / 10
    fleet, menu = side.get_by_role("link", name="Fleet"), side.get_by_role("button", name="Menu")
    expect(fleet).to_be_hidden()
    menu.focus()
    page.keyboard.press("Enter")
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(fleet).to_be_visible()
    assert window.inaccessible() + window.too_wide() == []
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(fleet).to_be_hidden()
    expect(menu).to_be_focused()
    menu.click()
    fleet.click()
    expect(page.locator("h1")).to_have_text("Fleet")
    expect(fleet).to_be_hidden()
    page.set_viewport_size({"width": 1280, "height": 860})
    expect(fleet).to_be_visible()
    expect(menu).to_be_hidden()


def _dress(window: Window, theme: str, language: str) -> None:
    """Let the window ask for a language and colours, as its reader's choice."""
    window.context.add_cookies(
        [
            {"name": f"careloop_{name}", "value": value, "url": window.base_url}
            for name, value in (("theme", theme), ("language", language))
        ]
    )


def test_a_message_that_failed_is_sent_again_and_its_endpoint_resumed(
    window: Window, console_world: ConsoleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _dress(window, "light", "en")
    page = window.page
    device_id = console_world.heat()
    case_id = console_world.case_of(device_id, "proposed")["case_id"]
    monkeypatch.setattr(Message, "read", _understand_nothing)
    console_world.decide(case_id, "approve")
    window.go(f"/deliveries?case_id={case_id}")
    row = page.locator("[data-row]", has_text="case opened")
    expect(row).to_contain_text("failed")
    page.get_by_role("link", name="By case").click()
    expect(page.locator("[data-part=streams]")).to_contain_text("waits for a person")
    expect(page.locator("[data-part=streams]").get_by_role("button", name="Send it again")).to_have_count(1)
    assert window.inaccessible() + window.too_wide() == []
    monkeypatch.undo()
    page.set_viewport_size({"width": 390, "height": 844})
    window.go("/deliveries")
    assert window.too_wide() == []  # though the number beside its name in the navigation is out of sight
    page.set_viewport_size({"width": 1280, "height": 860})
    page.locator("[data-part=endpoints]").get_by_role("button", name="Deliver again").click()
    expect(page.locator("[data-part=endpoints]")).to_contain_text("well")
    page.get_by_role("link", name="failed").click()
    page.locator("[data-row] a").first.click()
    expect(page.locator("[data-part=attempts]")).to_contain_text("400")
    page.get_by_role("button", name="Send it again").click()
    expect(page.locator("[data-part=state]")).to_contain_text("delivered")
    assert console_world.record_of(case_id)
    assert _acts(console_world) >= {"endpoint.resume", "delivery.replay"}
    other_id = console_world.case_of(console_world.heat(), "proposed")["case_id"]
    monkeypatch.setattr(Message, "read", _understand_nothing)
    console_world.decide(other_id, "approve")
    dead = {"case_id": other_id, "state": "dead"}
    assert wait_until(lambda: bool(console_world.gateway.ask("/v1/deliveries", **dead)["items"]), WITHIN_S)
    window.go(f"/deliveries?case_id={other_id}&state=dead")
    ranged = page.locator("[data-part=range]")
    expect(ranged).to_contain_text("one failed message")
    monkeypatch.undo()
    ranged.get_by_label("I have looked at them").check()
    ranged.get_by_role("button", name="Send one again").click()
    expect(page.locator("body")).to_contain_text("1 are sent again, 0 are left.")
    window.go(f"/deliveries?case_id={other_id}")
    expect(page.locator("[data-row]", has_text="case opened")).to_contain_text("delivered")
    assert "delivery.replay_range" in _acts(console_world)


def test_an_entry_in_quarantine_is_found_and_tried_again(window: Window, console_world: ConsoleWorld) -> None:
    _dress(window, "light", "en")
    page = window.page
    console_world.babble("boiler-15")
    gateway = console_world.gateway
    assert wait_until(lambda: bool(gateway.ask("/v1/quarantine", device_id="boiler-15")["items"]), WITHIN_S)
    window.go("/quarantine")
    page.get_by_role("searchbox").fill("boiler-15")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.locator("[data-row] a").first.click()
    expect(page.locator("pre")).to_have_text("{")
    page.get_by_role("button", name="Try it again").click()  # the button itself says "again": what was done tells
    assert wait_until(lambda: "quarantine.replay" in _acts(console_world), WITHIN_S)


def test_what_is_learnt_of_actions_is_shown_beside_the_watches(window: Window) -> None:
    _dress(window, "light", "en")
    page = window.page
    window.go("/watches")
    page.get_by_role("navigation", name="Watches and playbooks").get_by_role("link", name="Playbooks").click()
    expect(page.locator("h1")).to_have_text("Playbooks")
    expect(page.locator("[data-part=exploring]")).to_contain_text("no playbook allows exploring")
    page.get_by_label("Model").select_option("coffee-machine")
    expect(page.locator("[data-part=rows] tbody tr").first).to_contain_text("not known yet")


def test_the_journey_is_told_by_time_and_by_what_one_likes(window: Window) -> None:
    _dress(window, "light", "en")
    page = window.page
    window.go("/journey")
    page.get_by_role("link", name="90 days").click()
    expect(page.get_by_role("link", name="90 days")).to_have_attribute("aria-current", "true")
    by = page.get_by_role("navigation", name="By what").get_by_role("link")
    for name in by.all_text_contents():
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("[data-part=groups] h2")).to_have_text(name)
        expect(page.locator("[data-part=groups] tbody tr").first).to_be_visible()
        expect(page.get_by_role("link", name="90 days")).to_have_attribute("aria-current", "true")


def test_an_admin_changes_what_people_may_and_shuts_them_out(window: Window, console_world: ConsoleWorld) -> None:
    _dress(window, "light", "en")
    page = window.page
    window.go("/people")
    page.get_by_label("Role of vera").select_option("agent")
    expect(page.locator("[data-part=acts] li").first).to_contain_text("person.role · vera")
    assert _people(console_world)["vera"]["role"] == "agent"
    window.go("/people?q=VER&page=1")
    row = page.get_by_role("row", name="vera")
    expect(page.get_by_role("row", name="aldo")).to_have_count(0)
    row.get_by_role("button", name="Shut out").click()
    expect(row).to_contain_text("shut out")
    row.get_by_role("button", name="Let in again").click()
    expect(row).not_to_contain_text("shut out")
    row.get_by_role("button", name="New password").click()
    expect(page.locator(".note")).to_contain_text("One-time password of vera")
    assert _people(console_world)["vera"]["signs_in"] == "one-time password"


def test_an_admin_lets_a_machine_call_and_stops_it(window: Window, console_world: ConsoleWorld) -> None:
    _dress(window, "light", "en")
    page = window.page
    window.go("/people")
    page.get_by_label("Name of the token").fill("erp")
    page.get_by_role("button", name="Make it").click()
    token = page.locator(".note code").text_content() or ""
    assert console_world.as_token(token, "GET", "/v1/session").json()["name"] == "erp"
    row = page.locator("[data-part=tokens] tbody tr", has_text="erp")
    expect(row).to_contain_text("viewer")
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    assert console_world.as_token(token, "GET", "/v1/session").status_code == 401
    page.get_by_label("Name of the token").fill("/")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("main")).to_contain_text("A name has 1 to 100 letters")
    window.faults.clear()  # the browser tells of the refusal itself


def _understand_nothing(*_: object) -> Message:
    raise ValueError


def _people(world: ConsoleWorld) -> dict[str, Any]:
    return {each["name"]: each for each in world.gateway.ask("/v1/people")["items"]}


def _acts(world: ConsoleWorld) -> set[str]:
    return {each["what"] for each in world.gateway.ask("/v1/audit", by="person:anna")["items"]}
