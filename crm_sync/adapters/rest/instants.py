"""Instants as helpdesks write and want them."""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator

_DATE: Final = re.compile(r"/Date\((\d{1,16})(?:[+-]\d{4})?\)/")  # as Microsoft's JSON writes milliseconds
_MOST_MS: Final = 10**11  # a number of seconds is smaller until the year 5138, one of milliseconds larger since 1973


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
    """An instant in ISO 8601 (UTC where it does not say), or in seconds or milliseconds since 1970."""
    dated = _DATE.fullmatch(text)
    if dated:
        return int(dated[1]) / 1000
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not math.isfinite(number):
            return None
        return number / 1000 if number > _MOST_MS else number
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
