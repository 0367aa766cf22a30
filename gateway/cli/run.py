"""`careloop run`: the gateway."""

import asyncio
import signal
from pathlib import Path

import click
import uvloop

from gateway.cli.options import config_option, read_settings
from gateway.compose import serve
from gateway.logs import configure_logs
from gateway.settings import Settings


@click.command(short_help="Run the gateway; Ctrl-C stops it in good order.")
@config_option
def run(config: Path | None) -> None:
    """Run the gateway: take readings, store and judge them, keep the CRM informed. Ctrl-C stops it in good order."""
    settings = read_settings(config)
    configure_logs(settings.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_until_told(settings))


async def _serve_until_told(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop, click.echo)
