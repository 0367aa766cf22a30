"""`careloop rehearse`: readings from a pipe, judged and worked as if they arrived, with nothing stored or told."""

import asyncio
import sys
from pathlib import Path
from typing import BinaryIO

import click

from crm_sync.cases.desk import Desk
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import load_wordings
from devices.errors import CareloopError
from devices.profiles import load_profiles
from devices.registry.queries import load_devices
from gateway.backtest.apart import set_apart
from gateway.cli.options import config_option, read_settings
from gateway.database.connect import reachable_url
from gateway.database.session import open_session
from gateway.detect.lines import BadLine
from gateway.rehearsal.lines import parse_line, say
from gateway.rehearsal.play import House, Rehearsal
from gateway.settings import Settings


@click.command(short_help="Readings from a pipe to the cases that would come of them.")
@config_option
def rehearse(config: Path | None) -> None:
    """Judge readings from standard input and tell which cases would open, under the settings' budget and policy.

    Detectors, gates and budget are those of the gateway, in a database session whose tables are its own: nothing is
    stored and nobody is told. Lines of JSON in, lines of JSON out; see docs/simulators.md.
    """
    asyncio.run(_run(read_settings(config), sys.stdin.buffer, sys.stdout.buffer))


async def _run(settings: Settings, source: BinaryIO, sink: BinaryIO) -> None:
    url, profiles = reachable_url(settings), load_profiles(settings.profiles.folders)
    async with await open_session(url) as conn:
        model_of = {device.device_id: device.model for device in await load_devices(conn)}
    desk = Desk(
        settings.crm,
        profiles,
        TrustRules(settings.budget, settings.trust, settings.listen.authority().edge_nodes),
        load_wordings(settings.crm.language, settings.crm.wording_folder),
    )
    house = House(desk, settings.detect, settings.tenant.id, model_of)
    async with set_apart(url, as_of_history=False) as conn:
        rehearsal, now_s = Rehearsal(house, conn), 0.0
        for number, raw in enumerate(source, 1):
            try:
                line = parse_line(raw)
            except BadLine as error:
                raise CareloopError("unreadable_line", f"line {number}: {error}") from error
            if line.word is not None:
                await rehearsal.hear(line.word)
            elif line.until is not None:
                now_s = line.until
                sink.writelines(say({"case": case}) for case in await rehearsal.go_on(now_s))
                sink.write(say({"until": now_s}))
                sink.flush()
            else:
                rehearsal.take(line)
        sink.writelines(say(dict(each)) for each in await rehearsal.report(now_s))
        sink.flush()
