"""What the benchmarks found, as tables for people."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from gateway.bench.connections import ConnectionsFigures
from gateway.bench.contest import Result
from gateway.bench.crowd import Arrival
from gateway.bench.detect import DetectFigures
from gateway.bench.ingest import IngestReport
from gateway.bench.latency import LatencyFigures

_WHO = {
    "listen": "careloop, listen",
    "subscribe": "careloop, subscribe over MQTT 3.1.1",
    "subscribe_mqtt5": "careloop, subscribe over MQTT 5",
    "mosquitto_sub": "mosquitto_sub, receiving only",
    "mosquitto_sub_mqtt5": "mosquitto_sub over MQTT 5, receiving only",
    "mosquitto_sub_copy": "mosquitto_sub piped into COPY",
    "raw_copy": "raw COPY of buffers made before",
    "node_red": "Node-RED, inserts of 500",
    "null_sink": "null sink: all the load there is",
}
_PLENTY = 2.0  # times as much load as is taken
_PARTS = ("gateway", "database", "broker", "client", "generator")


def show_ingest(report: IngestReport, console: Console) -> None:
    """Print the figures of `careloop bench ingest`."""
    plan = report.plan
    count = plan.per_device * plan.connections
    console.print(
        f"\n{report.database}; {plan.rounds} rounds of {count:,} readings of 8 metrics, one a message, QoS 1, "
        f"from {plan.connections:,} connected devices; medians\n"
    )
    table = Table("", "readings/s", *_PARTS, "woken by", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, what in _WHO.items():
        results = report.results.get(name)
        if results:
            parts = (_cpu(report.cpu_us(name, part)) for part in _PARTS)
            table.add_row(what, _rate(results), *parts, _words_of(report.wakes_after(name)))
    console.print(table)
    console.print(
        "[dim]Right of the rate: processor microseconds per reading; the generator is the benchmark's own.\n"
        "Woken by: after how many acknowledgements a device sends on, of two numbers the one that suits better.\n"
        "careloop validates, stores once, judges with every watch, and acknowledges after the commit; nobody else does."
        f"{_on_the_generator(report)}[/]\n"
    )
    _show_ratios(report, console)
    _show_sweep("registered devices", report.fleets, console)
    _show_sweep("readings in a batch at most", report.batches, console)


def _on_the_generator(report: IngestReport) -> str:
    """Whether more load would have been there, from how much of it the null sink got."""
    ratios = [
        sink.per_s / listen.per_s
        for sink, listen in zip(report.results.get("null_sink", ()), report.results.get("listen", ()), strict=True)
    ]
    if not ratios:
        return ""
    more = median(ratios)
    verdict = "is not the limit" if more >= _PLENTY else "may be the limit"
    return f"\nThe load generator {verdict}: to the null sink it sends {more:.1f} times what careloop takes on listen."


def show_detect(figures: DetectFigures, console: Console) -> None:
    """Print the figures of `careloop bench detect`."""
    table = Table("detection, one core", "", "to reach", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("series", f"{figures.series:,}", "")
    table.add_row("series updates a second, all generic watches", f"{figures.updates_per_s:,.0f}", "10,000,000")
    table.add_row("bytes per series", f"{figures.bytes_per_series:,}", "1,000 at most")
    table.add_row("loops", "compiled" if figures.compiled else "not compiled", "")
    river = figures.ratios.over_river
    table.add_row("over river's GaussianScorer", "[dim]not installed[/]" if river is None else f"{river:.1f} x", "")
    table.add_row("over NAB's Windowed Gaussian", f"{figures.ratios.over_windowed_gaussian:.1f} x", "")
    console.print(table)


def show_latency(figures: LatencyFigures, console: Console) -> None:
    """Print the figures of `careloop bench latency`."""
    table = Table("reading to the CRM's request", "", "to reach", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("readings/s meanwhile", f"{figures.at_readings_per_s:,.0f}", "half the top rate")
    table.add_row("top rate, readings/s", f"{figures.top_readings_per_s:,.0f}", "")
    table.add_row("p50, real time", f"{figures.p50_s:.3f} s", "0.3 s at most")
    table.add_row("p99, real time", f"{figures.p99_s:.3f} s", "1 s at most")
    console.print(table)


def show_connections(figures: ConnectionsFigures, console: Console) -> None:
    """Print the figures of `careloop bench connections`."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.columns[1].justify = "right"
    table.add_row("devices" + (", over TLS" if figures.is_tls else ""), f"{figures.devices:,}")
    table.add_row("bytes of the gateway per idle connection", f"{figures.bytes_per_connection:,}")
    table.add_row("bytes of the gateway per registered device", f"{figures.bytes_per_registered_device:,}")
    table.add_row("logins a second, as fast as it can", f"{figures.connects_per_s:,.0f}")
    console.print(table)
    console.print(f"all cut at once, as fast as it can: {_arrival(figures.storm)}")
    console.print(f"all after a restart, {figures.paced_per_s:,.0f} a second: {_arrival(figures.restart)}")


def _arrival(arrival: Arrival) -> str:
    refused = ", ".join(f"{count:,} with code {code}" for code, count in arrival.refused.items()) or "none"
    return (
        f"{arrival.connected:,} in after {arrival.took_s:.1f} s (half of them {arrival.p50_s:.1f} s, 99 of 100 "
        f"{arrival.p99_s:.1f} s), {arrival.attempts:,} attempts, {arrival.cut:,} cut, refused: {refused}"
    )


def _show_ratios(report: IngestReport, console: Console) -> None:
    ratios = report.figures.ratios
    table = Table("ratio", "", "to reach", box=None, header_style="bold", pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    for words, found, wanted in (
        ("listen / mosquitto_sub piped into COPY", ratios.listen_over_mosquitto_sub_copy, 2.5),
        ("listen / raw COPY", ratios.listen_over_raw_copy, 0.4),
        ("listen / Node-RED", ratios.listen_over_node_red, 6.0),
        ("subscribe (MQTT 3.1.1) / mosquitto_sub receiving only", ratios.subscribe_over_mosquitto_sub, 0.95),
        ("subscribe (MQTT 5) / mosquitto_sub over MQTT 5", ratios.subscribe_mqtt5_over_mosquitto_sub_mqtt5, 0.95),
        ("subscribe (MQTT 5) / mosquitto_sub over MQTT 3.1.1", ratios.subscribe_mqtt5_over_mosquitto_sub, 0.95),
        ("1,000,000 registered devices / 10,000", ratios.fleet_1m_over_10k, 0.8),
    ):
        if found is None:
            table.add_row(words, "[dim]not measured[/]", f"{wanted:g}")
        else:
            table.add_row(words, f"[{'green' if found >= wanted else 'yellow'}]{found:.2f}[/]", f"{wanted:g}")
    console.print(table)


def _show_sweep(what: str, sizes: Mapping[int, Sequence[Result]], console: Console) -> None:
    if not sizes:
        return
    table = Table(what, "readings/s", box=None, header_style="bold", pad_edge=False)
    table.columns[0].justify = table.columns[1].justify = "right"
    for size, results in sizes.items():
        table.add_row(f"{size:,}", _rate(results))
    console.print()
    console.print(table)


def _rate(results: Sequence[Result]) -> str:
    return f"{median(result.per_s for result in results):,.0f}"


def _words_of(wakes_after: int | None) -> str:
    return "" if wakes_after is None else f"{wakes_after}"


def _cpu(microseconds: float | None) -> str:
    return "" if microseconds is None else f"{microseconds:.1f}"
