"""What the commands share that score the detectors: whose seeds they draw by, and `careloop detect` as a process."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import IO, Concatenate, ParamSpec

import click

from simulators.api_client import GatewayAway
from simulators.command import careloop_command

Others = ParamSpec("Others")
Command = Callable[Concatenate[Sequence[int], bool, Others], None]


def scoring(
    drawn: str, *, tuning: Sequence[int], held_out: Sequence[int]
) -> Callable[[Command[Others]], Callable[..., None]]:
    """Give a command the options `--seed`, `--held-out` and `--json`.

    It is called with the seeds to draw by and whether to print JSON, and ends with 1 where `careloop detect` fails.
    `drawn` is what is drawn by each seed, in the plural.
    """

    def decorate(command: Command[Others]) -> Callable[..., None]:
        @click.option(
            "--seed", "seeds", multiple=True, type=int, help=f"Draw {drawn} by it; those for tuning by default."
        )
        @click.option("--held-out", "is_held_out", is_flag=True, help=f"Draw {drawn} that nothing was tuned on.")
        @click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
        @wraps(command)
        def run(
            seeds: Sequence[int], is_held_out: bool, as_json: bool, *args: Others.args, **kwargs: Others.kwargs
        ) -> None:
            if seeds and is_held_out:
                raise click.UsageError("--held-out names the seeds, and does not go with --seed")
            try:
                command(seeds or (held_out if is_held_out else tuning), as_json, *args, **kwargs)
            except GatewayAway as error:
                click.echo(str(error), err=True)
                sys.exit(1)

        return run

    return decorate


def detect(into: IO[bytes], *arguments: str, readings: IO[bytes] | None = None) -> None:
    """Let `careloop detect` judge in a process of its own and write what it says. Raises GatewayAway if it fails."""
    command = [*careloop_command(), "detect", *arguments]
    done = subprocess.run(command, stdin=readings, stdout=into, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise GatewayAway(f"careloop detect: {done.stderr.decode(errors='replace').strip()}")
