"""`careloop doctor`: what is wrong, and what to do about it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.options import config_option, json_option, read_settings
from gateway.doctor.examine import examine
from gateway.doctor.finding import Finding


@click.command(short_help="Say what is wrong, and how to mend it.")
@config_option
@click.option("--probe", is_flag=True, help="Also let the broker queue 1,500 small messages, and count what it keeps.")
@json_option
@click.pass_context
def doctor(context: click.Context, config: Path | None, *, probe: bool, as_json: bool) -> None:
    """Look at settings, machine, database, gateway, broker, CRMs and clocks; exit 1 when something is wrong."""
    findings = asyncio.run(examine(read_settings(config), probe=probe))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    context.exit(0 if all(finding.ok for finding in findings) else 1)


def _print(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "[green]ok[/]   " if finding.ok else "[bold red]wrong[/]"
        console.print(f"{mark} {finding.what:<{width}}  {finding.says}", soft_wrap=True)
        if not finding.ok and finding.fix:
            console.print(f"      {'':<{width}}  → {finding.fix}", soft_wrap=True)
