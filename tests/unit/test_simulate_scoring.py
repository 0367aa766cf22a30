"""What the commands share that score `careloop detect`."""

import json
import tempfile
from collections.abc import Sequence

import click
import pytest
from click.testing import CliRunner

from simulators.api_client import GatewayAway
from simulators.cli import simulate
from simulators.scoring import detect, scoring

SCORED = ("usage", "machines", "records")


@click.command()
@click.option("--units", type=int, default=3)
@scoring("fleets", tuning=(1, 2), held_out=(101,))
def fleets(seeds: Sequence[int], as_json: bool, units: int) -> None:
    """Say what was asked."""
    if units < 0:
        raise GatewayAway("careloop detect: it cannot")
    click.echo(json.dumps([list(seeds), as_json, units]))


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ([], [[1, 2], False, 3]),
        (["--held-out", "--json"], [[101], True, 3]),
        (["--seed", "7", "--units", "4", "--seed", "8"], [[7, 8], False, 4]),
    ],
)
def test_what_is_drawn_by_is_what_was_asked_for_and_else_is_for_tuning(
    arguments: list[str], asked: list[object]
) -> None:
    assert json.loads(CliRunner().invoke(fleets, arguments).output) == asked


def test_a_seed_beside_those_that_are_held_out_is_refused() -> None:
    """It was drawn by the seed alone, as if nothing had been held out."""
    done = CliRunner().invoke(fleets, ["--seed", "7", "--held-out"])
    assert (done.exit_code, "--held-out" in done.output) == (2, True)


def test_detectors_that_fail_are_told_of_in_words() -> None:
    done = CliRunner().invoke(fleets, ["--units", "-1"])
    assert (done.exit_code, done.output) == (1, "careloop detect: it cannot\n")
    with tempfile.TemporaryFile() as sink, pytest.raises(GatewayAway, match="nowhere"):
        detect(sink, "nowhere.csv")


@pytest.mark.parametrize("name", SCORED)
def test_every_command_that_scores_has_the_same_options(name: str) -> None:
    shared = ("seeds", "is_held_out", "as_json")
    assert [each.name for each in simulate.commands[name].params if each.name in shared] == list(shared)
