"""`careloop deliveries`, over a real outbox."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from devices.errors import CareloopError
from gateway.cli.deliveries import deliveries
from tests.services.delivery_rig import Rig, endpoint, message, open_rig
from tests.services.receiver import Receiver, reply

OPENED, BEHIND, OTHER = message("case_a"), message("case_a"), message("case_b")


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    """A settings file for a database in which case_a's opening is dead, and case_b's delivered."""

    async def fill(rig: Rig, receiver: Receiver) -> None:
        receiver.script.append(reply(422, b"no such queue"))
        await rig.enqueue(OPENED)
        await rig.run()
        await rig.enqueue(BEHIND, OTHER)
        await rig.run(later_s=60)

    run_with_rig(plain_database_url, fill)
    path = tmp_path / "careloop.toml"
    path.write_text(f"[database]\nurl = {json.dumps(plain_database_url)}\n")
    return path


def run_with_rig(url: str, work: Callable[[Rig, Receiver], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Receiver() as receiver, open_rig(url, endpoint(receiver.url)) as rig:
            await work(rig, receiver)

    asyncio.run(run())


def call(*arguments: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(deliveries, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.output


def listed(config: Path, *arguments: str) -> dict[str, Any]:
    return json.loads(call("list", "--config", config, "--json", *arguments))


def test_list_shows_what_became_of_each_message(config: Path) -> None:
    page = listed(config)
    assert [(each["message_id"], each["state"]) for each in page["items"]] == [
        (OTHER.message_id, "delivered"),
        (BEHIND.message_id, "pending"),
        (OPENED.message_id, "dead"),
    ]
    words = call("list", "--config", config)
    assert "dead (http_422)" in words
    assert "behind a dead one" in words
    assert "1 cases are parked" in words


def test_list_filters_and_pages(config: Path) -> None:
    assert [each["case_id"] for each in listed(config, "--state", "dead")["items"]] == ["case_a"]
    assert [each["case_id"] for each in listed(config, "--case", "case_b")["items"]] == ["case_b"]
    assert listed(config, "--endpoint", "nobody")["items"] == []
    assert listed(config, "--until", "2020-01-01")["items"] == []
    first = listed(config, "--limit", "2")
    second = listed(config, "--cursor", str(first["next"]))
    assert len(first["items"]) == 2
    assert [each["message_id"] for each in second["items"]] == [OPENED.message_id]
    assert second["next"] is None


def test_show_tells_every_attempt(config: Path) -> None:
    detail = json.loads(call("show", OPENED.message_id, "--config", config, "--json"))
    assert detail["body"]["data"]["case_id"] == "case_a"
    assert [(attempt["result"], attempt["answer"]) for attempt in detail["attempts"]] == [
        ("permanent", "no such queue")
    ]
    assert "no such queue" in call("show", OPENED.message_id, "--config", config)
    with pytest.raises(CareloopError, match="there is no message msg_x"):
        call("show", "msg_x", "--config", config)


def test_replay_sends_a_dead_letter_again_and_its_case_goes_on(config: Path, plain_database_url: str) -> None:
    assert "behind a dead message" in call("replay", BEHIND.message_id, "--config", config, exit_code=1)
    assert "will be sent again" in call("replay", OPENED.message_id, "--config", config)

    async def deliver(rig: Rig, receiver: Receiver) -> None:
        await rig.run()
        assert [heard.headers["webhook-id"] for heard in receiver.heard] == [OPENED.message_id, BEHIND.message_id]

    run_with_rig(plain_database_url, deliver)
    assert {each["state"] for each in listed(config)["items"]} == {"delivered"}


def test_replay_of_all_dead_letters(config: Path) -> None:
    assert json.loads(call("replay", "--dead", "--endpoint", "nobody", "--config", config, "--json")) == {}
    assert json.loads(call("replay", "--dead", "--config", config, "--json")) == {OPENED.message_id: "again"}
    assert listed(config, "--state", "dead")["items"] == []


def test_replay_says_what_it_needs(config: Path) -> None:
    assert "name messages" in call("replay", "--config", config, exit_code=2)
    assert "go with --dead" in call("replay", "msg_x", "--endpoint", "crm", "--config", config, exit_code=2)
    assert "is not an instant" in call("replay", "--dead", "--since", "soon", "--config", config, exit_code=2)
    assert "no such message" in call("replay", "msg_x", "--config", config, exit_code=1)


def test_resume_delivers_again_to_what_was_disabled(config: Path, plain_database_url: str) -> None:
    async def be_gone(rig: Rig, receiver: Receiver) -> None:
        receiver.script.append(reply(410))
        await rig.enqueue(message("case_c"))
        await rig.run()

    run_with_rig(plain_database_url, be_gone)
    assert "disabled since" in call("list", "--config", config)
    assert "pending, endpoint disabled" in call("list", "--config", config)
    assert "delivered to again" in call("resume", "crm", "--config", config)
    assert "disabled" not in call("list", "--config", config)
    with pytest.raises(CareloopError, match="no such endpoint"):
        call("resume", "nobody", "--config", config)
