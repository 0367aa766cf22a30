"""What owners allow: every word kept, the last one counts, an old one that comes late does not."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from crm_sync.owners.consents import Word, import_records, record_word, said_no, taken_back, withdraw_all
from crm_sync.settings import DEFAULT_TYPES, MessageType
from devices.errors import CareloopError, ConfigError
from devices.registry.consent import read_consents
from devices.registry.dpv import Controller, write_record
from devices.registry.dpv_reading import read_document
from devices.registry.import_ import enter_records
from devices.registry.queries import grant_state, grants_of
from devices.registry.records import DeviceRecord
from gateway.cli.grants import grants
from tests.services.case_world import DAY, NOON, CaseWorld, endpoint, notice, open_world

NOW = datetime.fromtimestamp(NOON, UTC)
TOLD = endpoint("crm-a", types=(*DEFAULT_TYPES, MessageType.CONSENT_REVOKED))


@pytest.fixture
async def world(plain_database_url: str) -> AsyncIterator[CaseWorld]:
    async with open_world(plain_database_url, endpoints=(TOLD,)) as opened:
        yield opened


def word(state: Any = "given", recipient: str = "email", **changes: Any) -> Word:
    plain = Word("own-1", "service", recipient, state, "person:ann", basis="consent", method="box ticked")
    return replace(plain, **changes)


async def say(world: CaseWorld, said: Word, at_s: float = NOON) -> Any:
    async with world.pool.connection() as conn, conn.transaction():
        return await record_word(conn, world.settings, "default", said, at_s)


async def state(world: CaseWorld, at: datetime = NOW, recipient: str = "email") -> str | None:
    async with world.pool.connection() as conn:
        return await grant_state(conn, "default", "own-1", "service", recipient, at)


async def test_the_last_word_counts_and_every_word_is_kept(world: CaseWorld) -> None:
    first = await say(world, word(notice="https://acme.example/privacy", notice_version="7"))
    second = await say(world, word("refused"), NOON + 60)
    assert await state(world, NOW + timedelta(seconds=60)) == "refused"
    async with world.pool.connection() as conn:
        (record,) = await read_consents(conn, "default", "own-1")
    assert (record.record_id, second.record_id) == (first.record_id, first.record_id)
    assert [(each.state, each.notice_version, each.recorded_by) for each in record.events] == [
        ("given", "7", "person:ann"),
        ("refused", None, "person:ann"),
    ]


async def test_a_word_of_today_counts_though_one_is_dated_later(world: CaseWorld) -> None:
    async with world.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO grant_record (tenant_id, owner_ref, purpose, recipient, state, valid_from)"
            " VALUES ('default', 'own-1', 'service', 'email', 'given', %s)",
            [NOW + timedelta(days=7)],
        )
    await say(world, word("refused"))
    assert await state(world, NOW + timedelta(days=8)) == "refused"


async def test_what_an_owner_takes_back_is_told_and_stops_what_waits(world: CaseWorld) -> None:
    await say(world, word())
    await world.happens(notice(watch="heats-slowly", problem="limescale", metric="heat_up_time", severity="minor"))
    await say(world, word("revoked"))
    (told,) = [each for each in await world.messages() if each["type"] == "consent.revoked"]
    assert (told["data"]["owner_ref"], told["data"]["recipient"]) == ("own-1", "email")
    decisions = await world.deliver()
    assert [(kind, decision.reason) for kind, decision in decisions if kind == "case.updated"] == [
        ("case.updated", "no_grant")
    ]


async def test_everything_is_taken_back_at_once(world: CaseWorld) -> None:
    for recipient in ("email", "sms", "crm"):
        await say(world, word(recipient=recipient))
    await say(world, word("refused", "phone"))
    async with world.pool.connection() as conn, conn.transaction():
        taken = await withdraw_all(conn, world.settings, "default", word("revoked", source="letter"), NOON + 60)
    assert sorted(record.recipient for record in taken) == ["crm", "email", "sms"]
    for recipient in ("email", "sms", "crm"):
        assert await state(world, NOW + timedelta(minutes=2), recipient) == "revoked"


async def test_an_owner_whom_nobody_knows_can_say_nothing(world: CaseWorld) -> None:
    with pytest.raises(CareloopError, match="own-9"):
        await say(world, word(owner_ref="own-9"))


async def test_records_go_from_one_system_to_another_and_back_without_change(world: CaseWorld) -> None:
    await say(world, word(until=NOW + timedelta(days=90), source="app", personal_data=("pd:EmailAddress",)))
    await say(world, word("revoked"), NOON + DAY)
    async with world.pool.connection() as conn, conn.transaction():
        (before,) = await read_consents(conn, "default", "own-1")
        document = json.loads(json.dumps(write_record(before, Controller("acme"), NOW + timedelta(days=2))))
        records = read_document(document, NOW + timedelta(days=2))
        assert await import_records(conn, world.settings, "default", records, NOON + 2 * DAY) == 0
        await conn.execute("DELETE FROM grant_record")
        assert await import_records(conn, world.settings, "default", records, NOON + 2 * DAY) == 2
        (after,) = await read_consents(conn, "default", "own-1")
    assert after == before
    assert await state(world, NOW + timedelta(days=2)) == "revoked"


async def test_an_old_word_that_comes_late_undoes_nothing(world: CaseWorld) -> None:
    await say(world, word(), NOON - 10 * DAY)
    async with world.pool.connection() as conn:
        (old,) = await read_consents(conn, "default", "own-1")
        await conn.execute("DELETE FROM grant_record")
    await say(world, word("revoked"))
    async with world.pool.connection() as conn, conn.transaction():
        assert await import_records(conn, world.settings, "default", [old], NOON + 60) == 1
        (record,) = await read_consents(conn, "default", "own-1")
        (last,) = await grants_of(conn, "default", "own-1")
    assert [(event.state, event.historic) for event in record.events] == [("given", True), ("revoked", False)]
    assert (await state(world, NOW + timedelta(hours=1)), last.state) == ("revoked", "revoked")


async def test_a_withdrawal_that_another_system_tells_of_counts_and_is_told(world: CaseWorld) -> None:
    await say(world, word())
    async with world.pool.connection() as conn, conn.transaction():
        (record,) = await read_consents(conn, "default", "own-1")
        elsewhere = replace(record.events[0], state="revoked", at=NOW + timedelta(hours=1), event_id=record.record_id)
        told = replace(record, events=[*record.events, elsewhere])
        assert await import_records(conn, world.settings, "default", [told], NOON + 2 * 3600) == 1
    assert await state(world, NOW + timedelta(hours=2)) == "revoked"
    assert (await world.types()) == ["consent.revoked"]


async def test_an_import_for_people_whom_nobody_knows_writes_nothing(world: CaseWorld) -> None:
    await say(world, word())
    async with world.pool.connection() as conn:
        (record,) = await read_consents(conn, "default", "own-1")
        with pytest.raises(ConfigError) as caught:
            await import_records(conn, world.settings, "default", [record, replace(record, owner_ref="own-9")], NOON)
    assert "own-9" in str(caught.value.faults)


async def test_what_a_device_import_takes_back_is_told_once(world: CaseWorld) -> None:
    await say(world, word("given"))
    owner = {"owner_ref": "own-1"}
    no = {"purpose": "service", "recipient": "email", "state": "revoked", "valid_from": NOW.isoformat()}
    record = DeviceRecord.model_validate({"device_id": "cm-1", "owner": owner, "grants": [no]})
    for _ in range(2):
        later, no_more = NOW + timedelta(hours=1), said_no([record])
        async with world.pool.connection() as conn, taken_back(conn, world.settings, "default", no_more, later):
            await enter_records(conn, [record], at=later, tenant_id="default")
    told = [each for each in await world.messages() if each["type"] == "consent.revoked"]
    assert [(each["data"]["owner_ref"], each["data"]["recipient"]) for each in told] == [("own-1", "email")]


def call(*arguments: str) -> str:
    done = CliRunner().invoke(grants, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_records_shows_exports_and_takes_back(plain_database_url: str, tmp_path: Path) -> None:
    import psycopg  # noqa: PLC0415 - this test alone is not asynchronous

    with psycopg.connect(plain_database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO owner (tenant_id, owner_ref) VALUES ('default', 'own-1')")
    config = tmp_path / "careloop.toml"
    config.write_text(
        f'[database]\nurl = "{plain_database_url}"\n[tenant]\ncontroller = "Acme"\n[state]\nfolder = "{tmp_path}"\n'
    )
    at = ("--config", str(config))
    call("record", "own-1", "service", "email", "given", "--basis", "consent", "--notice", "n", "--by", "ann", *at)
    assert "service  email  given" in call("list", "own-1", *at)
    assert json.loads(call("list", "own-1", "--json", *at))[0]["state"] == "given"
    assert "by=person:ann" in call("show", "own-1", *at)
    document = call("export", "own-1", *at)
    assert json.loads(document)[0]["dpv:hasProcess"]["dpv:hasDataController"]["dpv:hasName"] == "Acme"
    file = tmp_path / "records.json"
    file.write_text(call("export", "--all", *at))
    assert call("import", str(file), *at) == "1 records read, 0 words new\n"
    assert "service to email: withdrawn" in call("withdraw", "own-1", "--all", "--source", "call", *at)
    assert "withdrawn" in call("list", "own-1", *at)
    with pytest.raises(ConfigError):
        call("record", "own-1", "selling", "email", "given", *at)
    assert isinstance(grants, click.Group)
