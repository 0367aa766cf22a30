"""The console as people use it: in a real browser, on a real gateway, with a CRM at the other end."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from gateway.database.postmaster import wait_until
from gateway.people.people import digest_of
from tests.services.chromium import Window, open_window
from tests.services.console import PASSWORD, WITHIN_S, ConsoleWorld
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

Open = Callable[..., Window]

expect.set_options(timeout=240_000)


@pytest.fixture
def open_(chromium: Browser, console_world: ConsoleWorld) -> Iterator[Open]:
    """Opens windows of people who are signed in; nothing may go wrong in any of them, and nothing leave the machine."""
    windows: list[Window] = []

    def make(name: str = "aldo", **options: object) -> Window:
        windows.append(open_window(chromium, console_world.url, **options))
        windows[-1].sign_in(name, PASSWORD)
        return windows[-1]

    yield make
    for window in windows:
        assert window.faults == []
        assert window.strangers() == []
        window.context.close()


def test_a_case_comes_in_live_and_its_approval_by_one_key_makes_a_record_in_the_crm(
    open_: Open, console_world: ConsoleWorld
) -> None:
    window = open_("aldo")
    window.wait_live()
    window.page.evaluate("window.isStillHere = true")  # a reload would forget it
    device_id = console_world.heat()
    row = window.page.locator("[data-row]", has_text=device_id)
    expect(row).to_contain_text("The boiler runs too hot")
    window.page.keyboard.press("j")
    while device_id not in (window.page.locator(".row.chosen").text_content() or ""):
        window.page.keyboard.press("j")
    window.page.keyboard.press("a")
    expect(row).to_contain_text("in sandbox")  # the CRM has told us its record, and the page has heard of it
    assert window.page.evaluate("window.isStillHere") is True
    case = console_world.case_of(device_id, "open")
    record = console_world.record_of(case["case_id"])
    assert [move["actor"] for move in case["transitions"]][1] == "person:aldo"
    row.get_by_role("link", name="The boiler runs too hot").click()
    link = window.page.get_by_role("link", name=record)
    expect(link).to_have_attribute("href", f"https://desk.example.com/{record}")


def test_a_case_tells_why_and_its_rejection_is_an_outcome(open_: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    window = open_("aldo")
    window.go(f"/cases/{case['case_id']}")
    expect(window.page.locator("svg[role=img] title").first).to_have_text("temperature")
    expect(window.page.locator("svg .limit").first).to_be_attached()
    short = window.page.locator("[data-part=short]")
    expect(short).to_contain_text("above its limit")
    expect(short).to_contain_text("a yes gives it to")
    expect(short).to_contain_text("Please open the window")
    window.page.get_by_text("As a table").first.click()
    expect(window.page.get_by_role("cell", name="120").first).to_be_visible()
    expect(window.page.locator("[data-part=contact]")).to_contain_text("grant")
    window.page.get_by_role("button", name="Reject").click()
    window.page.get_by_role("dialog").get_by_label("Why not").fill("It is being tested")
    window.page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    expect(window.page.locator("[data-part=state]")).to_contain_text("declined")
    expect(window.page.locator("[data-part=story]")).to_contain_text("It is being tested")
    assert console_world.case_of(device_id, "retracted")["outcome"] == "false"
    assert console_world.crm.sandbox.book.of_case(case["case_id"]) is None


def test_a_day_at_the_console_by_keyboard_alone(open_: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    console_world.case_of(device_id, "proposed")
    window = open_("aldo")
    page, keys = window.page, window.page.keyboard
    keys.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    keys.press("/")
    keys.type(device_id)
    keys.press("Enter")
    page.wait_for_url(lambda url: f"q={device_id}" in url)
    expect(page.locator("[data-row]")).to_have_count(1)
    keys.press("j")
    keys.press("Enter")
    window.arrive("The boiler runs too hot")
    keys.press("n")
    expect(page.locator("#note")).to_be_focused()
    keys.type("Called, nobody there")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("[data-part=story]")).to_contain_text("Called, nobody there")
    keys.press("r")
    expect(page.get_by_role("dialog").get_by_label("Why not")).to_be_focused()
    keys.press("Enter")  # not without a reason
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.type("a test")
    keys.press("Enter")
    expect(page.locator("[data-part=state]")).to_contain_text("declined")


def test_after_a_no_by_key_the_next_case_is_at_hand_and_a_key_held_down_decides_nothing(
    open_: Open, console_world: ConsoleWorld
) -> None:
    first, second = console_world.heat(), console_world.heat()
    for device_id in (first, second):
        console_world.case_of(device_id, "proposed")
    window = open_("aldo")
    page, keys = window.page, window.page.keyboard
    window.go("/?show=proposed")
    keys.press("j")
    while first not in (page.locator(".row.chosen").text_content() or ""):
        keys.press("j")
    held = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', repeat: true, bubbles: true}))"
    page.evaluate(held)
    keys.press("r")
    expect(page.get_by_role("dialog")).to_contain_text(first)
    keys.type("It is being tested")
    keys.press("Enter")
    expect(page.locator("[data-row]", has_text=first)).to_have_count(0)
    expect(page.locator(".row.chosen a").first).to_be_focused()
    assert console_world.case_of(first, "retracted")["outcome"] == "false"
    console_world.decide(console_world.case_of(second, "proposed")["case_id"], "approve")
    console_world.case_of(second, "open")
    window.go(f"/?q={second}")
    expect(page.locator("[data-row]")).not_to_contain_text("taken up")
    keys.press("j")
    keys.press("m")
    expect(page.locator("[data-row]")).to_contain_text("taken up")  # red is what nobody looks after
    expect(page.locator(".row.chosen a").first).to_be_focused()
    window.go("/?page=99")
    page.get_by_role("link", name="To its first page").click()
    expect(page.locator("[data-row]").first).to_be_visible()


def test_a_row_that_somebody_elses_work_takes_away_leaves_no_other_one_chosen(
    open_: Open, console_world: ConsoleWorld
) -> None:
    first, second = console_world.heat(), console_world.heat()
    case_id = console_world.case_of(first, "proposed")["case_id"]
    console_world.case_of(second, "proposed")
    window = open_("aldo")
    page, keys = window.page, window.page.keyboard
    window.go("/?show=proposed")
    window.wait_live()
    keys.press("j")
    while first not in (page.locator(".row.chosen").text_content() or ""):
        keys.press("j")
    keys.press("m")  # which leaves it where it is
    assert wait_until(lambda: page.evaluate("choose.acted === null"), WITHIN_S)
    assert first in (page.locator(".row.chosen").text_content() or "")
    console_world.decide(case_id, "approve")
    expect(page.locator("[data-row]", has_text=first)).to_have_count(0)
    expect(page.locator("[data-row]", has_text=second)).to_have_count(1)
    expect(page.locator(".row.chosen")).to_have_count(0)


def test_who_decides_on_a_page_that_is_out_of_date_is_told_so_and_nothing_happens(
    open_: Open, console_world: ConsoleWorld
) -> None:
    device_id = console_world.heat()
    case_id = console_world.case_of(device_id, "proposed")["case_id"]
    window = open_("aldo")
    window.go(f"/cases/{case_id}")
    page = window.page
    fields = {name: page.locator(f"[name={name}]").first.get_attribute("value") or "" for name in ("csrf", "seen")}
    window.wait_live()
    page.keyboard.press("a")
    page.get_by_role("button", name="Resolve").click()  # which the page had not when it came
    expect(page.get_by_role("dialog")).to_contain_text("Was the fault real?")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    console_world.case_of(device_id, "open")
    url = f"{window.base_url}/cases/{case_id}"
    late = window.context.request.post(f"{url}/decline", form={**fields, "why": "seen on an old page"})
    assert late.status == 409
    assert "Somebody was faster" in late.text()
    page.keyboard.press("m")
    expect(page.locator("[data-part=product]")).to_contain_text("aldo")
    assert window.context.request.post(f"{url}/assign", form={**fields, "to": "olga"}).status == 409
    case = console_world.case_of(device_id, "open")
    assert (case["assignee"], case["outcome"]) == ("aldo", None)


def test_a_device_page_says_what_came_of_each_alarm(open_: Open, console_world: ConsoleWorld) -> None:
    device_id = f"boiler-{len(console_world.used)}"
    no = {"purpose": "service", "recipient": "crm", "state": "revoked"}
    token = console_world.gateway.address["api_token"]
    owner = f"/v1/owners/person-{len(console_world.used)}/grants"
    console_world.as_token(token, "POST", owner, json=no).raise_for_status()
    assert console_world.heat() == device_id
    decided = "SELECT alarm_id FROM case_alarm WHERE device_id = %s AND suppressed IS NOT NULL"
    assert wait_until(lambda: bool(console_world.gateway.query(decided, device_id)), WITHIN_S)
    window = open_("aldo")
    window.go(f"/devices/{device_id}")
    alarms = window.page.locator("[data-part=alarms]")
    expect(alarms).to_contain_text("No case: no grant")
    other = console_world.heat()
    case = console_world.case_of(other, "proposed")
    window.go(f"/devices/{other}")
    expect(alarms.get_by_role("link", name="To its case")).to_have_attribute("href", f"/cases/{case['case_id']}")


def test_each_role_may_do_its_own_and_no_more(open_: Open, console_world: ConsoleWorld) -> None:
    device_id = console_world.heat()
    case = console_world.case_of(device_id, "proposed")
    viewer = open_("vera")
    viewer.go(f"/cases/{case['case_id']}")
    expect(viewer.page.get_by_role("button", name="Approve")).to_have_count(0)
    refused = viewer.context.request.post(
        f"{viewer.base_url}/cases/{case['case_id']}/approve", form={"csrf": _csrf(viewer)}, max_redirects=0
    )
    assert refused.status == 403
    forged = open_("aldo")
    stolen = forged.context.request.post(
        f"{forged.base_url}/cases/{case['case_id']}/approve", form={"csrf": "guessed"}, max_redirects=0
    )
    assert stolen.status == 403
    assert forged.context.request.get(f"{forged.base_url}/people").status == 403
    console_world.case_of(device_id, "proposed")  # it still is
    console_world.babble(device_id)
    gateway = console_world.gateway
    assert wait_until(lambda: bool(gateway.ask("/v1/quarantine", device_id=device_id)["items"]), WITHIN_S)
    entry = gateway.ask("/v1/quarantine", device_id=device_id)["items"][0]["quarantine_id"]
    for window, sees in ((viewer, False), (open_("olga"), True)):
        for path in (f"/quarantine/{entry}", f"/devices/{device_id}"):
            window.go(path)
            expect(window.page.locator("pre")).to_have_count(int(sees))
    looks = gateway.ask("/v1/audit", by="person:vera")["items"]
    assert {("case.read", case["case_id"]), ("device.read", device_id)} <= {
        (each["what"], each["subject"]) for each in looks
    }
    assert "quarantine.read" not in {each["what"] for each in looks}
    assert ("quarantine.look", str(entry)) in {(each["what"], each["subject"]) for each in looks}


def test_an_address_that_cannot_be_meant_is_answered_in_words(open_: Open) -> None:
    window = open_("vera")
    for path in ("/devices/%00", f"/quarantine?cursor={2**70}", "/owners/%00"):
        assert window.context.request.get(f"{window.base_url}{path}").status == 422, path


def test_who_tries_too_many_passwords_is_told_when_to_come_back(console_world: ConsoleWorld) -> None:
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")  # which does not hold up the others
    with httpx.Client(base_url=console_world.url, timeout=WITHIN_S, transport=elsewhere) as guesser:
        answers = [guesser.post("/sign-in", data={"name": "mallory", "password": "guess 0"})]
        while answers[-1].status_code == 401 and len(answers) < 40:  # a slow guesser is granted one more now and then
            answers.append(guesser.post("/sign-in", data={"name": "mallory", "password": f"guess {len(answers)}"}))
    assert len(answers) > 10
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "60")
    assert "Too many tries" in answers[-1].text


def test_another_tenants_token_sees_nothing_of_the_whole_process(console_world: ConsoleWorld) -> None:
    console_world.gateway.query(
        "INSERT INTO api_token (tenant_id, name, role, digest, created_at) "
        "VALUES ('other', 'erp', 'admin', %s, now()) RETURNING name",
        digest_of("clt_other"),
    )
    with httpx.Client(
        base_url=console_world.url,
        headers={"Authorization": "Bearer clt_other"},
        verify=IN_THE_CLEAR,
        timeout=PATIENCE_S,
    ) as other:
        assert other.get("/devices").status_code == 200
        assert {other.get(path).status_code for path in ("/health", "/health/doctor", "/scorecard")} == {403}


def _csrf(window: Window) -> str:
    return str(window.page.locator("[name=csrf]").first.get_attribute("value"))


def test_an_operator_sets_a_watch_and_reads_why(open_: Open, console_world: ConsoleWorld) -> None:
    del console_world
    window = open_("olga")
    window.go("/watches/boiler/too-hot")
    form = window.page.locator("form[action$='/mode']")  # another one tries a mode on stored history
    form.get_by_label("Mode").select_option("shadow")
    form.get_by_label("Why").fill("the sensor is being exchanged")
    form.get_by_role("button", name="Set it").click()
    expect(window.page.locator("[data-part=audit]")).to_contain_text("the sensor is being exchanged")
    form.get_by_label("Mode").select_option("approve")
    form.get_by_label("Why").fill("it was exchanged")
    form.get_by_role("button", name="Set it").click()
    expect(window.page.locator("[data-part=tiles]")).to_contain_text("asks first")


def test_an_admin_lets_somebody_in_who_must_choose_a_password(
    open_: Open, chromium: Browser, console_world: ConsoleWorld
) -> None:
    window = open_("anna")
    window.go("/people")
    window.page.get_by_label("Name", exact=True).fill("nora")
    window.page.get_by_role("button", name="Add").click()
    password = window.page.locator(".note code").text_content() or ""
    fresh = open_window(chromium, console_world.url)
    fresh.go("/watches")
    fresh.page.fill("[name=name]", "nora")
    fresh.page.fill("[name=password]", password)
    fresh.page.press("[name=password]", "Enter")
    fresh.page.wait_for_url("**/password**")
    fresh.page.fill("[name=old]", password)
    fresh.page.fill("[name=new]", "a teapot under the stairs")
    fresh.page.press("[name=new]", "Enter")
    fresh.page.wait_for_url(f"{console_world.url}/watches")
    assert fresh.faults == []
    fresh.context.close()


def test_language_and_colours_are_remembered(open_: Open, console_world: ConsoleWorld) -> None:
    del console_world
    window = open_("vera")
    window.page.get_by_label("Language").select_option("it")
    window.arrive("In arrivo")
    window.page.get_by_label("Colori").select_option("dark")
    expect(window.page.locator("html")).to_have_attribute("data-theme", "dark")
    window.go("/watches")
    expect(window.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_page_that_hears_of_nothing_any_more_says_so(open_: Open, console_world: ConsoleWorld) -> None:
    del console_world
    window = open_("vera")
    window.wait_live()
    lost = window.page.locator("#lost")
    expect(lost).to_be_hidden()
    fails = (
        "window.fails = setInterval(() => stream.dispatchEvent(new Event('error')), 500)"  # a browser tries on and on
    )
    window.page.evaluate(f"() => {{ {fails} }}")
    expect(lost).to_be_visible()
    expect(lost).to_contain_text("No connection")
    window.page.evaluate("() => { clearInterval(window.fails); stream.dispatchEvent(new Event('open')); }")
    expect(lost).to_be_hidden()
