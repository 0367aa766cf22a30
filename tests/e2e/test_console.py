"""The console as people use it: in a real browser, on a real gateway, with a CRM at the other end."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.services.chromium import Window, open_window
from tests.services.console import PASSWORD, ConsoleWorld

Open = Callable[..., Window]

expect.set_options(timeout=30_000)


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
    window.page.get_by_text("As a table").first.click()
    expect(window.page.get_by_role("cell", name="120").first).to_be_visible()
    expect(window.page.locator("[data-part=contact]")).to_contain_text("grant")
    window.page.fill("#why", "It is being tested")
    window.page.get_by_role("button", name="Reject").click()
    expect(window.page.locator("[data-part=state]")).to_contain_text("declined")
    expect(window.page.locator("[data-part=story]")).to_contain_text("It is being tested")
    assert console_world.case_of(device_id, "retracted")["outcome"] == "false"
    assert console_world.crm.sandbox.book.of_case(case["case_id"]) is None
