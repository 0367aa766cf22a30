"""What service people do at the console besides deciding cases: who works what, what is put off, who is written to."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, expect

from gateway.database.postmaster import wait_until
from gateway.people.model import Role
from gateway.people.people import digest_of
from tests.services.chromium import Window, open_window
from tests.services.console import PASSWORD, WITHIN_S, ConsoleWorld
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

Open = Callable[[str], Window]

expect.set_options(timeout=240_000)
JUDGED_MS = 400_000.0
"""A backtest has the least priority of all that runs on a machine."""


@pytest.fixture(scope="module")
def windows(chromium: Browser, console_world: ConsoleWorld) -> Iterator[dict[str, Window]]:
    """One window of each person, signed in when somebody needs it."""
    found: dict[str, Window] = {}
    yield found
    for window in found.values():
        window.context.close()
    del chromium, console_world


@pytest.fixture
def of(chromium: Browser, console_world: ConsoleWorld, windows: dict[str, Window]) -> Iterator[Open]:
    """Whose window is wanted; nothing may go wrong in any, and nothing leave the machine."""

    def find(name: str) -> Window:
        if name not in windows:
            windows[name] = open_window(chromium, console_world.url)
            windows[name].sign_in(name, PASSWORD)
        return windows[name]

    yield find
    for window in windows.values():
        assert window.faults == []
        assert window.strangers() == []


def test_a_case_is_given_to_somebody_by_keyboard_and_taken_from_its_page(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    window = of("aldo")
    page, keys = window.page, window.page.keyboard
    window.go(f"/?q={device_id}")
    keys.press("j")
    keys.press("g")
    expect(page.get_by_role("dialog")).to_contain_text("The boiler runs too hot")
    page.get_by_label("Who looks after it").select_option("olga")
    page.get_by_role("dialog").get_by_role("button", name="Give", exact=True).click()
    expect(page.locator("[data-row]")).to_contain_text("olga")
    window.go(f"/cases/{case['case_id']}")
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("[data-part=product]")).to_contain_text("aldo")
    offered = page.locator("#assign option").all_text_contents()
    assert "vera" not in offered  # who may only look is given nothing
    assert {"aldo (you)", "anna", "olga", "nobody yet"} <= set(offered)
    csrf = page.locator("[name=csrf]").first.get_attribute("value")
    url = f"{window.base_url}/cases/{case['case_id']}/assign"
    assert window.context.request.post(url, form={"csrf": csrf or "", "to": "vera"}).status == 422


def test_a_dialog_that_is_closed_does_nothing(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    console_world.decide(console_world.case_of(device_id, "proposed")["case_id"], "approve")
    case = console_world.case_of(device_id, "open")
    window = of("aldo")
    window.go(f"/cases/{case['case_id']}")
    window.page.get_by_role("button", name="Resolve").click()
    window.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(window.page.get_by_role("dialog")).to_have_count(0)
    window.page.fill("#note", "still open")
    window.page.get_by_role("button", name="Keep the note").click()
    expect(window.page.locator("[data-part=story]")).to_contain_text("still open")
    expect(window.page.locator("[data-part=state]")).not_to_contain_text("resolved")
    window.page.get_by_role("button", name="Take back").click()
    window.page.get_by_role("dialog").get_by_label("Why").fill("opened by mistake")
    window.page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    expect(window.page.locator("[data-part=story]")).to_contain_text("opened by mistake")
    assert console_world.case_of(device_id, "retracted")["outcome"] is None  # its watch learns nothing


def test_an_alarm_is_seen_and_put_off(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    window = of("aldo")
    window.go(f"/cases/{case['case_id']}")
    evidence = window.page.locator("[data-part=evidence]")
    evidence.get_by_role("button", name="Seen", exact=True).click()
    expect(evidence).to_contain_text("seen by aldo")
    evidence.get_by_label("Put off for").select_option("4h")
    evidence.get_by_role("button", name="Put off").click()
    expect(evidence).to_contain_text("put off")
    (alarm,) = console_world.gateway.ask("/v1/alarms", device_id=device_id)["items"]
    (quiet,) = console_world.gateway.ask("/v1/silences")["items"]
    assert alarm["acknowledged_by"] == "aldo"
    assert (quiet["kind"], quiet["alarm_id"], quiet["actor"]) == ("snooze", alarm["alarm_id"], "person:aldo")
    assert evidence.get_by_role("link", name="Silence").count() == 0  # that is for operators
    window.go("/silences")
    expect(window.page.get_by_role("button", name="Begin")).to_have_count(0)


def test_a_maintenance_window_is_begun_in_the_readers_time_and_ended(of: Open, console_world: ConsoleWorld) -> None:
    window = of("olga")
    page = window.page
    window.go("/silences?kind=maintenance&device_id=boiler-11")
    begin = page.locator("#begin")
    begin.get_by_label("Until").fill("2099-07-01T12:00")
    begin.get_by_label("Why").fill("the pump is exchanged")
    begin.get_by_role("button", name="Begin").click()
    row = page.locator("[data-row]", has_text="the pump is exchanged")
    expect(row).to_contain_text("maintenance window")
    found = console_world.gateway.ask("/v1/silences")["items"]
    (quiet,) = [each for each in found if each["kind"] == "maintenance"]
    assert quiet["ends_at"] == "2099-07-01T10:00:00Z"  # noon in Rome
    row.get_by_role("button", name="End it").click()
    expect(row).to_have_count(0)
    page.get_by_role("link", name="All").click()
    expect(row).to_contain_text("ended by olga")
    acts = {each["what"] for each in console_world.gateway.ask("/v1/audit", by="person:olga")["items"]}
    assert {"maintenance.begin", "silence.end"} <= acts
    csrf = page.locator("[name=csrf]").first.get_attribute("value") or ""
    for wrong in ({"kind": "silence"}, {"kind": "silence", "model": "boiler", "ends_at": "1999-01-01T00:00"}):
        form: dict[str, str | float | bool] = {"csrf": csrf, "why": "no", "ends_at": "2099-01-01T00:00", **wrong}
        assert window.context.request.post(f"{window.base_url}/silences", form=form).status == 422


def test_a_device_is_told_something_and_it_is_taken_back(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    window = of("aldo")
    page = window.page
    window.go(f"/devices/{device_id}")
    page.get_by_text("Tell it to do something").click()
    page.get_by_label("Command").select_option("vent")
    page.get_by_label("What goes with it").fill('{"seconds": 5}')
    page.get_by_role("button", name="Tell it").click()
    told = page.locator("[data-part=commands]")
    expect(told).to_contain_text("waits for the device")
    told.get_by_role("button", name="Take it back").click()
    expect(told).to_contain_text("taken back")
    (command,) = console_world.gateway.ask(f"/v1/devices/{device_id}/commands")["items"]
    assert (command["name"], command["data"], command["issued_by"]) == ("vent", {"seconds": 5}, "person:aldo")
    case = console_world.case_of(device_id, "proposed")
    window.go(f"/cases/{case['case_id']}")
    expect(page.locator("[data-part=commands]")).to_contain_text("vent")
    expect(page.locator("svg .sign.command").first).to_be_attached()


def test_a_device_gets_another_password_from_an_operator_only(of: Open, console_world: ConsoleWorld) -> None:
    agent = of("aldo")
    agent.go("/devices/boiler-11")
    expect(agent.page.get_by_role("button", name="Give it a new password")).to_have_count(0)
    window = of("olga")
    window.go("/devices/boiler-11")
    window.page.get_by_role("button", name="Give it a new password").click()
    password = window.page.locator(".note code").text_content() or ""
    assert wait_until(lambda: console_world.may_connect("boiler-11", password), WITHIN_S)
    assert console_world.may_connect("boiler-11", "pass-11-word")  # until it is revoked
    window.page.locator("[name=which]").select_option("old")
    window.page.get_by_role("button", name="Revoke", exact=True).click()
    expect(window.page.locator("[data-part=credentials]")).to_contain_text("revoked")
    assert wait_until(lambda: not console_world.may_connect("boiler-11", "pass-11-word"), WITHIN_S)
    assert console_world.may_connect("boiler-11", password)


def test_a_device_is_followed_live_and_its_messages_are_for_operators(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    for name, sees in (("aldo", False), ("olga", True)):
        window = of(name)
        with window.page.expect_request(f"**/devices/{device_id}/tail"):
            window.go(f"/devices/{device_id}")
        stored = window.page.locator("[data-part=raw] tbody tr")
        before = stored.count()
        window.page.wait_for_selector("html[data-tail=on]")
        console_world.cool(device_id)
        expect(window.page.locator("#packets tr").first).to_contain_text(f"devices/{device_id}/telemetry")
        expect(window.page.locator("#packets .raw")).to_have_count(int(sees))
        expect(stored).to_have_count(before + 3)
        window.go("/fleet")


def test_raw_messages_of_a_device_are_kept_because_an_operator_asks(of: Open, console_world: ConsoleWorld) -> None:
    agent = of("aldo")
    agent.go("/devices/boiler-10")
    expect(agent.page.locator("[data-part=captured]")).to_have_count(0)
    window = of("olga")
    window.go("/devices/boiler-10")
    part = window.page.locator("[data-part=captured]")
    part.get_by_role("button", name="Begin").click()
    expect(part).to_contain_text("being kept")
    row = part.locator("tbody tr")
    console_world.cool("boiler-10")
    expect(row).not_to_have_count(0)  # nothing but the message itself tells the page of it
    console_world.babble("boiler-10")
    expect(row.first.locator(".raw")).to_have_text("{")
    part.get_by_role("button", name="Stop it").click()
    expect(part).not_to_contain_text("being kept")
    expect(row.first.locator(".raw")).to_have_text("{")
    wanted = {"device.capture", "device.capture_stop", "device.raw"}  # the page may tell of the end before its record

    def acts() -> set[str]:
        return {each["what"] for each in console_world.gateway.ask("/v1/audit", subject="boiler-10")["items"]}

    assert wait_until(lambda: wanted <= acts(), WITHIN_S)


def test_an_owner_is_written_to_only_after_a_yes(of: Open, console_world: ConsoleWorld) -> None:
    cases: dict[str, str] = {}
    for _ in range(2):
        device_id = console_world.heat()
        case = console_world.case_of(device_id, "proposed")
        console_world.decide(case["case_id"], "approve")
        cases[case["case_id"]] = device_id
    window = of("aldo")
    page = window.page
    window.go("/")
    page.get_by_role("link", name="Contacts to allow").click()
    first, second = (page.locator("[data-row]", has_text=device_id) for device_id in cases.values())
    expect(first).to_contain_text("Please open the window")
    expect(first).to_contain_text(f"person-{next(iter(cases.values())).rpartition('-')[2]}")
    expect(first.locator(".due")).to_contain_text("left")
    expect(second).to_be_visible()
    second.get_by_label("Why not").fill("She rang already")
    second.get_by_role("button", name="Do not send").click()
    expect(second).to_have_count(0)
    first.get_by_role("button", name="Allow").click()
    expect(first).to_have_count(0)
    expect(page.locator("[data-part=lately]")).to_contain_text("declined")
    acts = {each["what"]: each for each in console_world.gateway.ask("/v1/audit", by="person:aldo")["items"]}
    assert acts["outreach.decline"]["inputs"] == {"why": "She rang already"}
    assert "outreach.approve" in acts
    window.go(f"/cases/{next(iter(cases))}")
    expect(page.locator("[data-part=contact]")).to_contain_text("approved by")


def test_a_watch_is_tried_on_stored_history_and_its_page_tells_what_it_comes_to(
    of: Open, console_world: ConsoleWorld
) -> None:
    console_world.case_of(console_world.heat(), "proposed")
    window = of("olga")
    page = window.page
    window.go("/watches/boiler/too-hot")
    form = page.locator("#backtest")
    wrong = {"csrf": page.locator("[name=csrf]").first.get_attribute("value") or "", "days": "7", "p.above": "high"}
    refused = window.context.request.post(f"{window.base_url}/watches/boiler/too-hot/backtest", form={**wrong})
    assert (refused.status, "parameters.above" in refused.text()) == (422, True)
    form.locator("[name='p.above']").fill("150")
    form.get_by_label("Severity").select_option("minor")
    form.get_by_role("button", name="Judge history with this").click()
    expect(page.locator("main")).to_contain_text("watch too-hot: severity critical → minor")
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible(timeout=JUDGED_MS)
    alarms = page.get_by_role("row", name="alarms raised").get_by_role("cell").all_text_contents()
    assert int(alarms[0]) == int(alarms[1]) > 0
    assert alarms[2] == "0"
    expect(page.locator(".picture")).to_be_visible()
    page.wait_for_function("document.querySelector('.picture').naturalWidth > 500")
    stop = page.url + "/stop"  # it is over: nothing happens, but somebody has asked
    assert window.context.request.post(stop, form={"csrf": wrong["csrf"]}).ok
    acts = {each["what"] for each in console_world.gateway.ask("/v1/audit")["items"]}
    assert {"watch.backtest", "watch.stop_backtest"} <= acts
    window.go("/watches/boiler/too-hot")
    expect(page.locator("[data-part=tiles]")).to_contain_text("asks first")  # nothing has changed
    expect(page.locator("[data-part=backtests]")).to_contain_text("done")


def test_people_of_a_provider_sign_in_with_one_button_and_go_where_they_wanted(
    chromium: Browser, console_world: ConsoleWorld
) -> None:
    console_world.provider.claims |= {"sub": "u-7", "preferred_username": "pia", "groups": ["desk"]}
    window = open_window(chromium, console_world.url)
    window.go("/watches?model=boiler")
    window.page.get_by_role("link", name="Sign in with your organisation").click()
    window.page.wait_for_url(f"{console_world.url}/watches?model=boiler")
    expect(window.page.locator(".who")).to_have_text("pia")
    expect(window.page.locator(".side .foot")).to_contain_text("agent")
    assert {urlsplit(url).netloc for url in window.strangers()} == {urlsplit(console_world.provider.issuer).netloc}
    console_world.gateway.query(
        "UPDATE person_session SET vouched_until = '2001-01-01Z' WHERE vouched_until IS NOT NULL RETURNING 1"
    )
    window.go("/watches")
    expect(window.page.get_by_role("link", name="Sign in with your organisation")).to_be_visible()
    assert window.faults == []
    window.context.close()


def test_an_owner_is_left_alone_and_seen_whole(of: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    console_world.case_of(device_id, "proposed")
    owner = f"person-{device_id.rpartition('-')[2]}"
    window = of("aldo")
    page = window.page
    window.go(f"/owners/{owner}")
    expect(page.locator("[data-part=alarms]")).to_contain_text("too-hot")
    expect(page.locator("[data-part=products]")).to_contain_text("boiler")
    expect(page.locator("[data-part=grants]")).to_contain_text("service")
    page.locator("#hold summary").click()
    page.locator("#hold").get_by_label("What").select_option("complaint")
    page.locator("#hold").get_by_label("Why").fill("wants no letters")
    page.locator("#hold").get_by_role("button").click()
    holds = page.locator("[data-part=holds]")
    expect(holds).to_contain_text("wants no letters")
    holds.get_by_role("button", name="Leave them alone no longer").click()
    expect(holds).to_contain_text("Nothing was ordered")


def test_no_page_shows_anything_of_another_house_whatever_the_role(console_world: ConsoleWorld) -> None:
    gateway, device_id = console_world.gateway, console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    console_world.babble(device_id)
    assert wait_until(lambda: bool(gateway.ask("/v1/quarantine", device_id=device_id)["items"]), WITHIN_S)
    entry = gateway.ask("/v1/quarantine", device_id=device_id)["items"][0]["quarantine_id"]
    of_one = (
        *(
            f"/cases/{case['case_id']}",
            f"/devices/{device_id}",
            f"/devices/{device_id}/tail",
            "/watches/boiler/too-hot",
        ),
        *(f"/owners/{case['owner_ref']}", f"/quarantine/{entry}"),
    )
    lists = ("/", "/contacts", "/fleet", "/devices", "/watches", "/silences", "/deliveries", "/quarantine", "/journey")
    for role in Role:
        gateway.query(
            "INSERT INTO api_token (tenant_id, name, role, digest, created_at) "
            "VALUES ('other', %s, %s, %s, now()) RETURNING name",
            *(f"looks-{role}", role, digest_of(f"clt_looks_{role}")),
        )
        headers = {"Authorization": f"Bearer clt_looks_{role}"}
        with httpx.Client(
            base_url=console_world.url, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        ) as stranger:
            assert {path: stranger.get(path).status_code for path in of_one} == dict.fromkeys(of_one, 404)
            for path in lists:
                page = stranger.get(path)
                assert page.status_code == 200, path
                assert not [each for each in (device_id, "person-", case["case_id"]) if each in page.text], (role, path)


def test_nobody_writes_below_their_role_without_a_page_of_ours_or_in_anothers_house(
    of: Open, console_world: ConsoleWorld
) -> None:
    gateway, device_id = console_world.gateway, console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    alarm_id, owner_ref = case["alarms"][0]["alarm_id"], case["owner_ref"]
    tenant, why = {"default": "viewer", "other": "operator"}, {"why": "for a test", "kind": "do_not_contact"}
    for tenant_id, role in tenant.items():
        gateway.query(
            "INSERT INTO api_token (tenant_id, name, role, digest, created_at) "
            "VALUES (%s, 'writer', %s, %s, now()) RETURNING name",
            *(tenant_id, role, digest_of(f"clt_writes_{tenant_id}")),
        )
    ((quiet_id,),) = gateway.query(
        "INSERT INTO quiet_alarm (tenant_id, kind, device_id, starts_at, ends_at, created_at, actor, why) VALUES "
        "('default', 'silence', 'nobody', now(), now() + interval '1 day', now(), 'person:olga', 'x') "
        "RETURNING quiet_id"
    )
    forms: dict[str, dict[str, str]] = {
        f"/cases/{case['case_id']}/assign": {"to": ""},
        f"/cases/{case['case_id']}/retract": why,
        f"/alarms/{alarm_id}/acknowledge": {},
        f"/alarms/{alarm_id}/snooze": {"for": "1h"},
        f"/silences/{quiet_id}/end": {},
        f"/devices/{device_id}/commands": {"name": "vent"},
        f"/devices/{device_id}/commands/none/cancel": {},
        f"/devices/{device_id}/credentials/rotate": {},
        f"/devices/{device_id}/capture": {"minutes": "5"},
        f"/devices/{device_id}/capture/stop": {},
        f"/devices/{device_id}/credentials/revoke": {},
        f"/owners/{owner_ref}/holds": why,
        f"/owners/{owner_ref}/release": why,
        "/contacts/none/approve": {},
        "/contacts/none/decline": why,
        "/watches/boiler/too-hot/backtest": {"days": "7"},
        "/backtests/none/stop": {},
        "/people": {"name": "mallory", "role": "admin"},
        "/people/vera/disable": {},
        "/tokens": {"name": "mallory", "role": "admin", "days": ""},
        "/tokens/writer/revoke": {},
    }
    for tenant_id, answers in (("default", {403}), ("other", {403, 404, 409})):
        headers = {"Authorization": f"Bearer clt_writes_{tenant_id}"}
        with httpx.Client(
            base_url=console_world.url, headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S
        ) as writer:
            said = {path: writer.post(path, data=form).status_code for path, form in forms.items()}
        assert {path: status for path, status in said.items() if status not in answers} == {}, tenant_id
    window = of("olga")
    window.go("/")
    for path, form in forms.items():
        guessed = window.context.request.post(f"{window.base_url}{path}", form={**form, "csrf": "x"}, max_redirects=0)
        assert guessed.status == 403, path
    written = gateway.query("SELECT what FROM audit WHERE who = 'token:writer' AND what NOT LIKE '%%.read'")
    assert written == []
    gateway.query("DELETE FROM quiet_alarm WHERE quiet_id = %s RETURNING 1", quiet_id)
