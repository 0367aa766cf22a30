"""`careloop quarantine`, on a real database with a pipeline at work, and without one."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg import AsyncConnection

from devices.errors import CareloopError
from gateway.cli.quarantine import quarantine
from gateway.store.quarantine import pattern_of
from tests.ingest.rig import NOW_S, Rig

FUTURE = {"ts": round((NOW_S + 2 * 86_400) * 1000), "metrics": {"celsius": 20}}


@pytest.fixture
def config(tmp_path: Path, plain_database_url: str) -> Path:
    path = tmp_path / "careloop.toml"
    path.write_text(
        f"[state]\nfolder = {json.dumps(str(tmp_path))}\n[database]\nurl = {json.dumps(plain_database_url)}\n"
    )
    return path


async def call(config: Path, *arguments: object, exit_code: int = 0) -> str:
    words = [*map(str, arguments), "--config", str(config)]
    result = await asyncio.to_thread(CliRunner().invoke, quarantine, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout


async def test_entries_are_listed_shown_and_replayed(config: Path, plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        await rig.tell("k1", FUTURE, b"\xff{")
        listed = json.loads(await call(config, "list", "--json"))
        assert {entry["reason"] for entry in listed} == {"far_future", "malformed"}
        future = next(entry["quarantine_id"] for entry in listed if entry["reason"] == "far_future")
        broken = next(entry["quarantine_id"] for entry in listed if entry["reason"] == "malformed")
        assert "\\xff{" in await call(config, "show", broken)
        assert "still far_future" in await call(config, "replay", future, exit_code=1)
        rig.clock.at_s += 2 * 86_400
        answer = json.loads(await call(config, "replay", "--all", "--json", exit_code=1))
        assert answer == {
            "outcomes": {str(future): "stored", str(broken): "quarantined"},
            "unknown": [],
            "gateway_runs": True,
        }
        text = await call(config, "list")
        assert "malformed (replayed: quarantined)" in text
        assert "far_future" not in text
        assert "far_future (replayed: stored)" in await call(config, "list", "--all", "--device", "k1")
        assert "there is no such entry" in await call(config, "replay", 99, exit_code=1)


async def test_without_a_gateway_the_replay_waits_for_one(config: Path, plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    async with rig.running():
        await rig.tell("k1", FUTURE)
    assert "no gateway runs" in await call(config, "replay", "--all", exit_code=1)
    later = Rig(plain_database_url)
    later.clock.at_s += 2 * 86_400
    async with later.running():
        await later.until_rows("SELECT outcome FROM quarantine", [("stored",)])
    assert await call(config, "list") == "nothing in quarantine\n"


async def test_what_does_not_exist_is_said(config: Path) -> None:
    with pytest.raises(CareloopError, match="number 7"):
        await call(config, "show", 7)
    await call(config, "replay", exit_code=2)
    await call(config, "replay", "1", "--all", exit_code=2)


async def test_entries_are_picked_alike_for_a_list_and_a_replay(config: Path, plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        await rig.tell("k1", FUTURE, b"{")
        rig.clock.at_s += 3600
        await rig.tell("k2", FUTURE)
        noon = datetime.fromtimestamp(rig.clock.at_s, UTC).isoformat()

        async def picked(*filters: str) -> list[tuple[str, str]]:
            entries = json.loads(await call(config, "list", "--json", *filters))
            return [(entry["device_id"], entry["reason"]) for entry in entries]

        assert await picked("--topic", "devices/k2/#") == [("k2", "far_future")]
        assert await picked("--topic", "devices/+/telemetry", "--reason", "malformed") == [("k1", "malformed")]
        assert await picked("--topic", "devices/+") == []
        assert await picked("--since", noon) == [("k2", "far_future")]
        assert len(await picked("--until", noon)) == 2
        rig.clock.at_s += 2 * 86_400
        await call(config, "replay", "--all", "--topic", "devices/k2/telemetry")
        assert await picked("--stage", "replayed") == [("k2", "far_future")]
        assert ("k2", "far_future") not in await picked()
        assert await picked("--stage", "waiting") == []
    await call(config, "list", "--since", "yesterday", exit_code=2)
    await call(config, "replay", "1", "--topic", "x", exit_code=2)


@pytest.mark.parametrize(
    ("topic_filter", "taken", "left"),
    [
        ("devices/+/telemetry", "devices/k1/telemetry", "devices/k1/x/telemetry"),
        ("devices/#", "devices", "device"),
        ("#", "any/thing", ""),
        ("a.b/(c", "a.b/(c", "axb/(c"),
        ("é+/$x", "é+/$x", "éé/$x"),
    ],
)
async def test_a_topic_filter_means_what_it_means_in_mqtt(
    plain_database_url: str, topic_filter: str, taken: str, left: str
) -> None:
    async with await AsyncConnection.connect(plain_database_url) as conn:
        found = await (
            await conn.execute(
                "SELECT %s ~ %s, %s ~ %s", (taken, pattern_of(topic_filter), left, pattern_of(topic_filter))
            )
        ).fetchone()
    assert found == (True, left == "")
