"""The benchmarks' figures, as they are handed to machines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Rates:
    """Readings a second, medians over the rounds; None for who is not installed."""

    listen: float
    subscribe: float | None
    mosquitto_sub: float | None
    mosquitto_sub_copy: float | None
    raw_copy: float
    node_red: float | None
    subscribe_mqtt5: float | None
    mosquitto_sub_mqtt5: float | None


@dataclass(frozen=True, slots=True)
class Ratios:
    """Medians of the ratios within each round; None where a side was not measured."""

    listen_over_mosquitto_sub_copy: float | None
    listen_over_raw_copy: float | None
    listen_over_node_red: float | None
    subscribe_over_mosquitto_sub: float | None
    fleet_1m_over_10k: float | None
    subscribe_mqtt5_over_mosquitto_sub: float | None
    subscribe_mqtt5_over_mosquitto_sub_mqtt5: float | None


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Microseconds per reading: gateway and database through `listen`, the broker through `subscribe`."""

    gateway: float
    database: float
    broker: float | None


@dataclass(frozen=True, slots=True)
class IngestFigures:
    """What `careloop bench ingest` found."""

    readings_per_s: Rates
    ratios: Ratios
    cpu_us_per_reading: ProcessorTime
    rounds: Mapping[str, Mapping[str, Sequence[float]]]
    """Readings a second of every round, by contestant and by how many acknowledgements woke a device."""


Series = Mapping[str, list[float]]
"""Readings a second of each contestant, round by round."""


def ratio(rates: Series, ours: str, theirs: str) -> float | None:
    """The median over the rounds of one rate over another; None where one of them was not measured."""
    pairs = list(zip(rates.get(ours, ()), rates.get(theirs, ()), strict=False))
    return round(median(one / other for one, other in pairs), 3) if pairs else None


def middle(rates: Series, name: str) -> float | None:
    """The median rate; None where it was not measured."""
    return round(median(rates[name]), 1) if rates.get(name) else None


def write_json(path: Path, figures: object) -> None:
    """Write a figures dataclass as JSON."""
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n")  # pyright: ignore[reportArgumentType]
