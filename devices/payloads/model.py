"""The published contract of the codec `json`, as pydantic models; the fast decoder is held to it by tests."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)

from devices.payloads.codec import MAX_CODE, MAX_FIRMWARE, MAX_SEQ, MAX_TS_MS, MAX_TS_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:[0-5]\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))",
    re.ASCII,
)


def _rfc_3339_us(text: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        message = "not RFC 3339 with an offset, such as 2026-03-01T07:30:00Z"
        raise ValueError(message)
    date, time, fraction, sign, hours, minutes = match.groups()
    moment = datetime.fromisoformat(f"{date}T{time}+00:00") - _EPOCH
    offset = timedelta(hours=int(hours), minutes=int(minutes)) if sign else timedelta()
    whole = (moment + offset if sign == "-" else moment - offset) // timedelta(microseconds=1)
    digits = f"{fraction or ''}0000000"  # the seventh digit rounds
    return whole + int(digits[:6]) + (digits[6] >= "5")


def to_us(ts: str | float) -> int:
    """Microseconds since the epoch of a valid `ts`; raises ValueError."""
    ts_us = _rfc_3339_us(ts) if isinstance(ts, str) else round(ts * 1000) if 0 <= ts <= MAX_TS_MS else -1
    if not 0 <= ts_us <= MAX_TS_US:
        message = "not between the years 1970 and 9999"
        raise ValueError(message)
    return ts_us


def _valid_ts(ts: str | float) -> str | float:
    to_us(ts)
    return ts


def _without_nul(text: str) -> str:
    if "\0" in text:
        message = "NUL cannot be stored"
        raise ValueError(message)
    return text


def _storable(data: dict[str, object]) -> dict[str, object]:
    left: list[object] = [data]
    while left:
        match left.pop():
            case str() as text:
                _without_nul(text)
            case float() as number if not math.isfinite(number):
                message = "not a number"
                raise ValueError(message)
            case list() as items:  # pyright: ignore[reportUnknownVariableType]
                left.extend(items)  # pyright: ignore[reportUnknownArgumentType]
            case Mapping() as entries:  # pyright: ignore[reportUnknownVariableType]
                left.extend(entries.keys())  # pyright: ignore[reportUnknownArgumentType]
                left.extend(entries.values())  # pyright: ignore[reportUnknownArgumentType]
            case _:
                pass
    return data


Timestamp = Annotated[
    str | int | float,
    AfterValidator(_valid_ts),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "number", "minimum": 0},
            ]
        }
    ),
]
Sequence = Annotated[int, Field(ge=0, le=MAX_SEQ)]
MetricName = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
Number = Annotated[float, Field(allow_inf_nan=False)]
MetricValue: TypeAlias = bool | Number | None


class _Payload(BaseModel):
    # Fields that nobody knows yet are let pass: a device in the field is newer than its gateway now and then.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    ts: Timestamp | None = Field(
        default=None,
        description="Device time: RFC 3339 with any offset, or epoch milliseconds. Left out: the time of receipt.",
    )
    seq: Sequence | None = Field(
        default=None,
        description="Counts the messages of a device, so that gaps are seen.",
    )


class ReadingPayload(_Payload):
    """What a product measured at one moment."""

    firmware: Annotated[str, Field(max_length=MAX_FIRMWARE), AfterValidator(_without_nul)] | None = Field(
        default=None,
        description="The firmware that the device runs; send it with some readings, or with all.",
    )
    metrics: dict[MetricName, MetricValue] = Field(
        description="Finite numbers and booleans by metric name; null means absent, as if it were left out."
    )


class EventPayload(_Payload):
    """Something that happened, by code."""

    code: Annotated[str, Field(min_length=1, max_length=MAX_CODE), AfterValidator(_without_nul)] = Field(
        description="What happened, as the product's profile names it."
    )
    data: Annotated[dict[str, object], AfterValidator(_storable)] | None = Field(
        default=None, description="Details, kept as they are."
    )


Readings: Final[TypeAdapter[ReadingPayload | list[ReadingPayload]]] = TypeAdapter(ReadingPayload | list[ReadingPayload])
Events: Final[TypeAdapter[EventPayload | list[EventPayload]]] = TypeAdapter(EventPayload | list[EventPayload])


def json_schema() -> dict[str, object]:
    """The JSON Schema of both payloads: `readings` and `events`, each one object or an array."""
    definitions: dict[str, object] = {}
    shapes: dict[str, object] = {}
    for name, adapter in (("readings", Readings), ("events", Events)):
        schema = adapter.json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs")
        shapes[name] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "careloop payloads, codec json",
        "description": "devices/{device_id}/telemetry carries readings, devices/{device_id}/events carries events.",
        "anyOf": [{"$ref": "#/$defs/Readings"}, {"$ref": "#/$defs/Events"}],
        "$defs": {"Readings": shapes["readings"], "Events": shapes["events"]} | definitions,
    }
