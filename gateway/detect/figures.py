"""Numbers as people's tables have them: decimal commas, thousands apart, truths, and units behind them."""

import math
import re
from typing import Final

from gateway.detect.lines import BadLine

ABSENT: Final = frozenset(
    {
        *(
            "",
            "nan",
            "+nan",
            "-nan",
            "null",
            "(null)",
            "none",
            "na",
            "n/a",
            "n.a.",
            "n.d.",
            "<na>",
            "nat",
            "nil",
            "\\n",
        ),
        *("#n/a", "#div/0!", "#value!", "#ref!", "#num!", "#null!", "#name?", "1.#qnan", "-1.#ind"),
        *("-", "--", "---", "?", ".", "..", "missing", "no data", "nodata"),
    }
)
_TRUTHS: Final = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA: Final = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+")
_GROUPED: Final = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")
_APART: Final = re.compile(r"([+-]?\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+)((?:[.,]\d+)?)")
_MINUS: Final = "\u2212"  # as typesetters have it
UNITS: Final = frozenset(
    {
        *("%", "‰", "ppm", "ppb", "°", "°C", "°F", "℃", "℉", "C", "F", "K", "pH", "dB", "dBm", "dBA", "lx", "lux"),
        *("mV", "V", "kV", "µA", "mA", "A", "mW", "W", "kW", "MW", "VA", "kVA", "Wh", "kWh", "MWh", "Ah", "mAh", "Ω"),
        *("Hz", "kHz", "MHz", "GHz", "rpm", "bpm", "1/min", "ms", "s", "min", "h", "B", "kB", "KB", "MB", "GB"),
        *("Pa", "hPa", "kPa", "MPa", "mbar", "bar", "psi", "N", "kN", "Nm"),
        *("mm", "cm", "m", "km", "mg", "g", "kg", "t"),
        *("m/s", "km/h", "mph", "m/s²", "mm/s", "ml", "l", "L", "l/min", "L/min", "l/h", "m³", "m³/h", "m3", "m3/h"),
        *("g/m³", "mg/m³", "µg/m³", "W/m²", "kWh/h"),
    }
)
_WITH_UNIT: Final = re.compile(r"([+-]?[\d.,]+(?:[eE][+-]?\d+)?)\s*(\D\S*|1/min)")


def read_number(text: str, separator: str) -> float:
    """A number from a table whose cells are so separated. Raises BadLine."""
    number = _plainly(text)
    if not math.isfinite(number):
        number = _otherwise_written(text, separator)
    if not math.isfinite(number):
        raise BadLine(f"value {text!r} is not a number")
    return number


def _otherwise_written(text: str, separator: str) -> float:
    """NaN for what is no number."""
    text = text.replace(_MINUS, "-")
    if (apart := _APART.fullmatch(text)) is not None:  # `3 000,5` in France, `3'000.5` in Switzerland
        text = re.sub(r"[^\d+-]", "", apart[1]) + apart[2]
    if separator != "," and _DECIMAL_COMMA.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if _THOUSANDS.fullmatch(text):  # without decimals its comma might be theirs
        return float(text.replace(",", ""))
    return _TRUTHS[text.lower()] if text.lower() in _TRUTHS else _plainly(text)


def _plainly(text: str) -> float:
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


def is_unit(text: str) -> bool:
    """Whether a text is a unit alone, or stands in brackets as one does beneath the name of a column."""
    return text in UNITS or (len(text) > 1 and (text[0], text[-1]) in {("[", "]"), ("(", ")")})


def is_number(text: str, separator: str) -> bool:
    """Whether it is one."""
    try:
        read_number(text, separator)
    except BadLine:
        return False
    return True


def read_thousands(text: str, separator: str) -> float | None:
    """A number such as `12,345` from between commas, where it was in quotes; None for any other text."""
    return float(text.replace(",", "")) if separator == "," and _GROUPED.fullmatch(text) else None


def split_unit(text: str) -> tuple[str, str] | None:
    """A number and the unit behind it, `20.4 °C`; None where it is nothing of the kind."""
    found = _WITH_UNIT.fullmatch(text)
    if found is None or found[2] not in UNITS:
        return None
    is_glued = found.end(1) == found.start(2)
    return None if is_glued and len(found[2]) == 1 and found[2].isalpha() else (found[1], found[2])  # `12A` is a name
