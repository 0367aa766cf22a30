"""`careloop bench`: the benchmarks, each beside its baselines in the same run."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeVar

import click
from rich.console import Console

from gateway.bench.connections import ConnectionsPlan, run_connections
from gateway.bench.detect import DetectPlan, run_detect
from gateway.bench.figures import write_json
from gateway.bench.ingest import BATCHES, FLEETS, IngestPlan, run_ingest
from gateway.bench.latency import LatencyPlan, run_latency
from gateway.bench.node_red import find_node_red
from gateway.bench.pages import PagesPlan, run_pages, show_pages
from gateway.bench.plot import draw
from gateway.bench.reads import ReadsPlan, run_reads, show_reads
from gateway.bench.report import show_connections, show_detect, show_ingest, show_latency
from gateway.database.provisioned import cache_folder, find_provisioned

Say = Callable[[str], None]
Found = TypeVar("Found")

_json_option = click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here."
)


@contextmanager
def _ending_in_good_order() -> Generator[None]:
    """Let SIGTERM end what was started, as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(short_help="Measure careloop beside its baselines, in one run.")
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure careloop beside its baselines, in one run; what counts is the ratios."""
    context.with_resource(_ending_in_good_order())


def _measured(
    run: Callable[[Say], Found], show: Callable[[Found, Console], None], json_file: Path | None = None
) -> Found:
    """Measure, saying meanwhile how far it is; show what was found, and write it."""
    console = Console(highlight=False)
    with console.status("setting up") as status:
        found = run(status.update)
    show(found, console)
    if json_file is not None:
        write_json(json_file, found)
    return found


@bench.command(short_help="Readings stored per second, beside its peers.")
@click.option(
    "--seconds", default=4.0, show_default=True, help="Size of a round: what lasts so long at 100,000 a second."
)
@click.option("--rounds", default=3, show_default=True, help="How often everybody takes a turn, after warming up.")
@click.option("--connections", default=1000, show_default=True, help="Devices that send, each on its own connection.")
@click.option(
    "--fleets", is_flag=True, help="Also with 10,000, 100,000 and 1,000,000 registered devices; takes minutes."
)
@click.option("--batches", is_flag=True, help="Also with batches of several sizes.")
@click.option(
    "--plot",
    "plot_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the rate against batch and fleet size here, as SVG; measures both.",
)
@_json_option
def ingest(
    *,
    seconds: float,
    rounds: int,
    connections: int,
    fleets: bool,
    batches: bool,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Readings stored per second, beside mosquitto_sub, raw COPY and Node-RED on the same rows."""
    plan = IngestPlan(
        seconds,
        rounds,
        connections,
        fleets=FLEETS if fleets or plot_file else (),
        batches=BATCHES if batches or plot_file else (),
        node_red=find_node_red(),
    )
    programs = find_provisioned(cache_folder(os.environ))
    report = _measured(partial(run_ingest, plan, programs), show_ingest)
    if json_file is not None:
        write_json(json_file, report.figures)
    if plot_file is not None:
        plot_file.write_text(draw(report.batches, report.fleets, f"{report.database}; medians of {rounds} rounds"))


@bench.command(short_help="Samples judged per second, beside river and others.")
@click.option("--seconds", default=2.0, show_default=True, help="How long each turn of careloop lasts.")
@click.option("--rounds", default=3, show_default=True, help="How often everybody takes a turn.")
@click.option("--series", default=100_000, show_default=True, help="Series, of which each batch updates 5,000.")
@_json_option
def detect(*, seconds: float, rounds: int, series: int, json_file: Path | None) -> None:
    """Samples judged per second by every generic watch, beside river and NAB's Windowed Gaussian."""
    _measured(partial(run_detect, DetectPlan(series=series, seconds=seconds, rounds=rounds)), show_detect, json_file)


@bench.command(short_help="From a reading's sending to the CRM's request.")
@click.option("--seconds", default=20.0, show_default=True, help="How long the load at half the top rate lasts.")
@click.option("--connections", default=1000, show_default=True, help="Devices that send the load.")
@click.option(
    "--together",
    type=click.IntRange(1),
    help="Packets that such a device sends at once; half of its window, as for the top rate, unless told.",
)
@_json_option
def latency(*, seconds: float, connections: int, together: int | None, json_file: Path | None) -> None:
    """From a reading's sending to the CRM's HTTP request, at half the top rate."""
    programs = find_provisioned(cache_folder(os.environ))
    plan = LatencyPlan(seconds=seconds, connections=connections, together=together)
    _measured(partial(run_latency, plan, programs), show_latency, json_file)


@bench.command(short_help="Memory of idle devices, and a reconnect storm.")
@click.option("--devices", default=10_000, show_default=True, help="Devices that connect to the listen door.")
@click.option("--registered", default=100_000, show_default=True, help="More devices that are known and never come.")
@click.option(
    "--tls",
    type=(click.Path(path_type=Path, exists=True), click.Path(path_type=Path, exists=True)),
    metavar="CERTIFICATE KEY",
    help="Over TLS, with these PEM files: what a handshake costs depends on the kind of key.",
)
@_json_option
def connections(*, devices: int, registered: int, tls: tuple[Path, Path] | None, json_file: Path | None) -> None:
    """Memory of a connected and of a registered device, how fast devices come in, and a storm of all of them."""
    programs = find_provisioned(cache_folder(os.environ))
    _measured(
        partial(run_connections, ConnectionsPlan(devices, registered, tls), programs), show_connections, json_file
    )


@bench.command(short_help="Reads from a store of many readings, and their plans.")
@click.option("--rows", default=20_000_000, show_default=True, help="Readings to read from; 200 bytes of disk each.")
@click.option("--repeats", default=100, show_default=True, help="How many devices each question is asked about.")
@_json_option
def reads(*, rows: int, repeats: int, json_file: Path | None) -> None:
    """One device over a day and over 90, and the fleet by hour: how long each takes, on every edition there is."""
    programs = find_provisioned(cache_folder(os.environ))
    _measured(partial(run_reads, ReadsPlan(rows, repeats), programs), show_reads, json_file)


@bench.command(short_help="Every page and reading call of a large house, over HTTP.")
@click.option("--rows", default=20_000_000, show_default=True, help="Readings in the house; 250 bytes of disk each.")
@click.option("--repeats", default=40, show_default=True, help="How often everything is asked.")
@click.option(
    "--edition",
    type=click.Choice(["auto", "postgresql", "timescaledb"]),
    default="auto",
    show_default=True,
    help="The database; auto takes TimescaleDB where it is provisioned.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the house in this folder, and find it there the next time: filling it takes minutes.",
)
@click.option("--only", default="", help="Only calls with this in their name.")
@_json_option
def pages(*, rows: int, repeats: int, edition: str, store: Path | None, only: str, json_file: Path | None) -> None:
    """Every page of the console and every reading call of the API, asked of a gateway with a full store."""
    programs = None if edition == "postgresql" else find_provisioned(cache_folder(os.environ))
    _measured(partial(run_pages, PagesPlan(rows, repeats, store, only), programs), show_pages, json_file)
