"""A helpdesk that does everything in another way than the example: sessions, forms, bare headers, packed answers."""

import gzip
import json
import re
from codecs import BOM_UTF8
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest

from crm_sync.adapters import build_adapters, load_adapters
from crm_sync.adapters.contract import OWN_LIMIT, Delivery, Outcome, RecordChange, Result
from crm_sync.adapters.rest.adapter import RestAdapter
from crm_sync.outbox import encode_body
from crm_sync.settings import MessageType
from tests.integration.test_rest_adapter import EXAMPLE, case, resolved, settings
from tests.services.helpdesk import Answer, Asked, Helpdesk, refuses

SPEC: Final = Path(__file__).with_name("odd-helpdesk.toml")
NOW_S: Final = 1_800_000_000.0
PAGE: Final = 2


class OddDesk(Helpdesk):
    """Issues in memory; every answer is one that some helpdesk gives."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = 0
        self.session = ""
        self.refuses_once: list[Answer | None] = []  # in place of the answer to the next change, which is made
        self.instead_once: list[Answer] = []  # in place of the next change, which is not made

    def work(self, asked: Asked) -> Answer:
        """What it does."""
        parts = asked.path.strip("/").split("/")
        match (asked.method, parts):
            case ("POST", ["issues"]):
                return self._make(dict(parse_qsl(asked.body)), [value for _, value in parse_qsl(asked.body)])
            case ("GET", ["search"]):
                return self._search(int(asked.query.get("from", "0")))
            case ("GET", ["issues"]):
                found = [{"number": number, **issue} for number, issue in self.tickets.items()]
                start = int(asked.query["start"])
                assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", asked.query["changed_since"])
                return Answer(200, found[start : start + PAGE])
            case ("GET", ["issues", number]) if int(number) in self.tickets:
                return Answer(200, raw=BOM_UTF8 + json.dumps({"issue": self.tickets[int(number)]}).encode())
            case ("PATCH", ["issues", number]):
                self.tickets[int(number)].update(asked.body)
                return Answer(200, {"ok": True})
            case ("POST", ["issues", number, "remarks"]):
                self.tickets[int(number)]["remarks"].append(asked.body["text"])
                return Answer(204)
            case _:
                return Answer(404)

    def _make(self, form: dict[str, str], values: list[str]) -> Answer:
        number = 10 + len(self.tickets)
        assert values.count("careloop") == 1
        assert form["issue[labels][]"] == "steps"  # the last of two
        custom = [{"name": "colour", "value": "red"}, {"name": "case", "value": form["issue[custom][case]"]}]
        self.tickets[number] = {"prio": int(form["issue[prio]"]), "state": 1, "custom": custom, "remarks": []}
        return Answer(201, headers={"Location": f"http://inside:8080/issues/{number}"})

    def _search(self, start: int) -> Answer:
        """It finds whatever is similar, says numbers alone, and packs what nobody asked to be packed."""
        hits = list(self.tickets)[start : start + PAGE]
        headers = {"Content-Encoding": "gzip"}
        if start + PAGE < len(self.tickets):
            headers["Link"] = f'</search?from=0>; rel="first", </search?q=x&from={start + PAGE}>; rel="next"'
        return Answer(200, raw=gzip.compress(json.dumps({"hits": hits}).encode()), headers=headers)

    def _answer(self, asked: Asked) -> Answer | None:
        self.asked.append(asked)
        assert asked.headers["app-token"] == "app-1"
        if asked.path == "/session":
            assert dict(parse_qsl(asked.body)) == {"user": "robot", "password": "t0ken-of-the-helpdesk"}
            self.sessions += 1
            self.session = f"session-{self.sessions}"
            return Answer(200, {"session": {"token": self.session}})
        if asked.headers.get("x-session") != self.session:
            return Answer(401)
        if asked.method != "GET" and self.instead_once:
            return self.instead_once.pop()
        answer = self.work(asked)
        return self.refuses_once.pop() if asked.method != "GET" and self.refuses_once else answer


@asynccontextmanager
async def odd() -> AsyncGenerator[tuple[OddDesk, Callable[..., Any]]]:
    """The helpdesk, and how it is told."""
    async with OddDesk() as desk:
        adapter = RestAdapter(settings(desk, SPEC, user="robot"), real_now_s=lambda: NOW_S)

        async def tell(message: Any, external_id: str | None = None, attempt: int = 1) -> Outcome:
            body = encode_body(message)
            return await adapter.deliver(
                Delivery("case_a", message.message_id, message.type, body, external_id, attempt, uncertain=attempt > 1)
            )

        try:
            yield desk, tell
        finally:
            await adapter.close()


async def test_a_case_lives_where_everything_is_different() -> None:
    async with odd() as (desk, tell):
        for number in range(3):  # of somebody else, but similar
            custom = [{"name": "case", "value": f"case_a{number}"}]
            desk.tickets[number] = {"prio": 1, "state": 9, "custom": custom, "remarks": []}
        opened = await tell(case())
        assert (opened.result, opened.external_id) == (Result.OK, "13")
        desk.session = "ended"  # a session ends whenever it wants
        worse = await tell(case(MessageType.CASE_UPDATED, severity="critical", change="severity_raised"), "13")
        over = await tell(resolved(), "13")
        assert (worse.result, over.result, desk.sessions) == (Result.OK, Result.OK, 2)
        ours = desk.tickets[13]
        assert (ours["prio"], ours["state"], len(ours["remarks"])) == (4, 9, 2)
        adapter = RestAdapter(settings(desk, SPEC, user="robot"))
        assert list(await adapter.find_case("case_a")) == ["13"]
        # all of them changed in the same moment, on several pages
        told = (await adapter.changes_since(NOW_S)).told
        assert RecordChange("case_a", "13", "resolved") in told
        assert len(told) == 4
        await adapter.close()


@pytest.mark.parametrize("lost", [Answer(500), None, Answer(200, raw=b"<html>")], ids=["500", "cut", "page"])
async def test_a_lost_answer_is_looked_for_where_a_search_knows_numbers_alone(lost: Answer | None) -> None:
    async with odd() as (desk, tell):
        desk.refuses_once = [lost]
        assert (await tell(opened := case())).result is Result.UNKNOWN
        adapter = RestAdapter(settings(desk, SPEC, user="robot"))
        (number,) = await adapter.find_case("case_a")
        await adapter.close()
        assert (await tell(opened, number, 2)).result is Result.OK
        assert len(desk.tickets) == 1


@pytest.mark.parametrize(
    ("answer", "result", "code", "wait_s"),
    [
        (Answer(429, headers={"X-Reset": str(int(NOW_S) + 90)}), Result.RATE_LIMITED, "http_429", 90.0),
        (Answer(429, headers={"X-Reset": "17"}), Result.RATE_LIMITED, "http_429", 17.0),
        (Answer(429, headers={"Retry-After": "5", "X-Reset": "17"}), Result.RATE_LIMITED, "http_429", 5.0),
        (Answer(429), Result.RATE_LIMITED, "http_429", None),
        (Answer(200, {"ok": False, "fault": "locked"}), Result.RETRYABLE, "locked", None),
        (Answer(200, {"ok": False, "fault": "no such thing"}), Result.PERMANENT, "refused", None),
    ],
)
async def test_it_says_in_its_own_way_that_nothing_was_done(
    answer: Answer, result: Result, code: str, wait_s: float | None
) -> None:
    async with odd() as (desk, tell):
        opened = await tell(case())
        desk.instead_once = [answer]
        outcome = await tell(case(MessageType.CASE_UPDATED, change="severity_raised"), opened.external_id)
        assert (outcome.result, outcome.code, outcome.retry_after_s) == (result, code, wait_s)


async def test_no_secret_is_kept_of_an_answer_that_repeats_what_it_was_asked_with() -> None:
    async with odd() as (desk, tell):
        opened = await tell(case())
        echo = {"headers": {"App-Token": "app-1"}, "session": desk.session, "password": "t0ken-of-the-helpdesk"}
        desk.instead_once = [Answer(422, echo)]
        outcome = await tell(case(MessageType.CASE_UPDATED, change="severity_raised"), opened.external_id)
        assert (outcome.result, "App-Token" in outcome.answer) == (Result.PERMANENT, True)
        for secret in ("app-1", desk.session, "t0ken-of-the-helpdesk"):
            assert secret not in outcome.answer + outcome.detail


async def test_endpoints_of_one_account_rest_together(tmp_path: Path) -> None:
    async with Helpdesk() as desk:
        desk.tokens.add("another-token-of-the-account")
        mine = settings(desk, EXAMPLE, name="mine")
        other = settings(desk, EXAMPLE, name="other", token="another-token-of-the-account")
        text = EXAMPLE.read_text().replace("[limits]", '[limits]\nof = "token"')
        (by_token := tmp_path / "by-token.toml").write_text(text)
        apart = settings(desk, by_token, name="apart", token="another-token-of-the-account")
        adapters = build_adapters([mine, other, apart], load_adapters())
        desk.trick("GET /api/users", refuses(429, retry_after="30"))
        message = case()
        told = Delivery("case_a", message.message_id, message.type, encode_body(message), None, 1, uncertain=False)
        first = await adapters["mine"].deliver(told)
        assert (first.result, first.code, first.retry_after_s) == (Result.RATE_LIMITED, "http_429", 30.0)
        asked = len(desk.asked)
        second = await adapters["other"].deliver(told)
        assert (second.result, second.code, len(desk.asked)) == (Result.RATE_LIMITED, OWN_LIMIT, asked)
        assert second.retry_after_s is not None
        assert 20 < second.retry_after_s <= 30
        assert (await adapters["apart"].deliver(told)).result is Result.OK
        for adapter in adapters.values():
            await adapter.close()
