"""Numbers, units, spans and instants as people say them."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from devices.profiles.model import EVENT_SERIES, EVERY_EVENT

_UNITS: Final = {
    "1": "",
    "Cel": "°C",
    "[degF]": "°F",
    "kW.h": "kWh",
    "W.h": "Wh",
    "km/h": "km/h",
    "[in_i]": "in",
    "um": "µm",
    "us": "µs",
}
_NAMED: Final = {  # UCUM of what names end in
    **dict.fromkeys(("celsius", "deg_c", "c"), "Cel"),
    "fahrenheit": "[degF]",
    **dict.fromkeys(("percent", "pct"), "%"),
    "bar": "bar",
    **dict.fromkeys(("volt", "volts", "v"), "V"),
    **dict.fromkeys(("amp", "amps"), "A"),
    **dict.fromkeys(("watt", "watts"), "W"),
    "kwh": "kW.h",
    "wh": "W.h",
    "hz": "Hz",
    "rpm": "rpm",
    "ml": "mL",
    "kg": "kg",
    "km": "km",
    "kmh": "km/h",
    "bpm": "bpm",
    "s": "s",
    "ms": "ms",
    "db": "dB",
}
_UNIT_WORDS: Final = re.compile(rf"[_ ](?:{'|'.join(_NAMED)})$", re.IGNORECASE)

_MOST_DECIMALS: Final = 6
_NEEDS_NO_DECIMAL: Final = 10


def say_metric(name: str) -> str:
    """`boiler_temperature_celsius` as `Boiler temperature`; events as `Event E17` and `Event brew aborted`."""
    if name == EVERY_EVENT:
        return "Any event"
    if name.startswith(EVENT_SERIES):
        return f"Event {name.removeprefix(EVENT_SERIES).replace('_', ' ')}"
    plain = _UNIT_WORDS.sub("", name) or name
    plain = re.sub(r"[_.\-]+", " ", plain).strip()
    return plain[:1].upper() + plain[1:]


def unit_of(metric: str | None) -> str:
    """The UCUM unit that a metric's name ends in, which `say_metric` leaves out; `1` where it names none."""
    found = _UNIT_WORDS.search(metric or "")
    return "1" if found is None else _NAMED[found[0][1:].lower()]


def say_number(value: float) -> str:
    """Three significant digits, or every digit before the point, with thousands separated."""
    if not math.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    if digits > _MOST_DECIMALS:
        return f"{value:.3g}"
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def say_quantity(value: float, unit: str) -> str:
    """A number with its unit, from UCUM: `118 °C`, `40 %`, `312`."""
    shown = _UNITS.get(unit, unit.strip("{}") if unit.startswith("{") else unit)
    return f"{say_number(value)} {shown}" if shown else say_number(value)


def say_span(seconds: float) -> str:
    """`45 seconds`, `10 minutes`, `2.5 hours`, `3 days`."""
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        limit = size * (2 if name == "day" else 1)
        if seconds >= limit or size == 1:
            amount = seconds / size
            text = f"{amount:.1f}".removesuffix(".0") if amount < _NEEDS_NO_DECIMAL else f"{amount:.0f}"
            return f"{text} {name}{'' if text == '1' else 's'}"
    raise AssertionError


def say_instant(ts_s: float, seen_from_s: float) -> str:
    """`14:05`, or `3 May 14:05` when that is another day than the one it is seen from; UTC."""
    instant, present = datetime.fromtimestamp(ts_s, UTC), datetime.fromtimestamp(seen_from_s, UTC)
    if instant.date() == present.date():
        return f"{instant:%H:%M}"
    year = "" if instant.year == present.year else f" {instant.year}"
    return f"{instant.day} {instant:%B}{year} {instant:%H:%M}"


def thin_out(points: Sequence[tuple[float, float]], most: int = 100) -> tuple[tuple[float, float], ...]:
    """At most `most` points, spread evenly, the first and the last among them."""
    if len(points) <= most:
        return tuple(points)
    step = (len(points) - 1) / (most - 1)
    return tuple(points[round(i * step)] for i in range(most))
