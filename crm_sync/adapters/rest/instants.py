"""Instants as helpdesks write and want them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator

_DATE: Final = re.compile(r"/Date\((\d{1,16})(?:[+-]\d{4})?\)/")  # as Microsoft's JSON writes milliseconds
_MOST_MS: Final = 10**11  # a number of seconds is smaller until the year 5138, one of milliseconds larger since 1973
_FIRST_S: Final = -62_135_596_800.0  # the year 1 begins…
_END_S: Final = 253_402_300_800.0  # …and 9999 has ended


def _instant_format(text: str) -> str:
    if text not in {"iso", "epoch", "epoch_ms"} and "%" not in text:
        raise ValueError("iso, epoch, epoch_ms, or a format with % signs such as %Y-%m-%d %H:%M:%S")
    return text


InstantFormat = Annotated[str, AfterValidator(_instant_format)]
"""How an instant is written, in UTC; what has a % sign is a format of strftime."""


def write_instant(written: InstantFormat, epoch_s: float) -> str:
    """An instant as a helpdesk wants it."""
    instant = datetime.fromtimestamp(epoch_s, UTC)
    match written:
        case "iso":
            return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
        case "epoch":
            return str(int(epoch_s))
        case "epoch_ms":
            return str(int(epoch_s * 1000))
        case _:
            return instant.strftime(written)


def parse_instant_s(text: str) -> float | None:
    """An instant in ISO 8601 (UTC where it does not say), or in seconds or milliseconds since 1970.

    None for what is none, and for what is in no year that there are dates for: "never" as some helpdesks write it.
    """
    epoch_s = _parse_s(text)
    return epoch_s if epoch_s is not None and _FIRST_S <= epoch_s < _END_S else None


def _parse_s(text: str) -> float | None:
    dated = _DATE.fullmatch(text)
    if dated:
        return int(dated[1]) / 1000
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        return number / 1000 if number > _MOST_MS else number
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
