"""Following the packets of one device through a running gateway."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Final
from urllib.parse import quote

import click
import msgspec
from rich.console import Console
from rich.text import Text

from devices.errors import CareloopError, Retryable
from gateway.running import wait_for_gateway
from gateway.settings import Settings

CONNECT_TIMEOUT_S: Final = 10.0


class Fate(msgspec.Struct, frozen=True):
    """One packet, and what became of it; the API's line."""

    topic: str
    payload_bytes: int
    received_s: Annotated[float, msgspec.Meta(ge=0)]
    stored: int = 0
    filled: int = 0
    duplicates: int = 0
    quarantined: int = 0
    reason: str | None = None
    detail: str = ""


def follow(settings: Settings, device_id: str) -> Iterator[bytes]:
    """The API's lines about a device's packets, as they come. Raises CareloopError where there is nothing to follow."""
    import httpx  # noqa: PLC0415 - takes long, and the other commands about devices ask the database

    gateway = wait_for_gateway(settings)
    if gateway is None or gateway.api_url is None:
        detail = f"no gateway with an API runs on these settings (state folder {settings.state.folder})"
        raise Retryable("gateway_not_running", detail)
    url = f"{gateway.api_url.rstrip('/')}/v1/devices/{quote(device_id, safe='')}/tail"
    headers = {"Authorization": f"Bearer {gateway.api_token}"}
    timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=None)  # a device may be quiet for days
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != HTTPStatus.OK:
                raise CareloopError("not_followed", f"the gateway answered {answer.status_code}")
            click.echo(f"following {device_id}; Ctrl-C ends it", err=True)
            for line in answer.iter_lines():
                yield line.encode()
    except httpx.HTTPError as error:
        raise Retryable("gateway_unreachable", f"{url}: {error}") from error
    raise Retryable("gateway_stopped", "the gateway has closed the stream")


def print_fates(lines: Iterator[bytes], as_json: bool, count: int | None) -> None:
    """Print each line for people, or as it came, until they end or there were `count` of them."""
    console = Console(highlight=False)
    try:
        for line in islice(lines, count):
            if as_json:
                click.echo(json.dumps(json.loads(line)))
            else:
                console.print(in_words(msgspec.json.decode(line, type=Fate)), soft_wrap=True)
    except KeyboardInterrupt:
        pass


def in_words(fate: Fate) -> Text:
    """One packet on one line: when, where, how much, and what became of it."""
    at = datetime.fromtimestamp(fate.received_s, UTC)
    text = Text(f"{at:%H:%M:%S}.{at.microsecond // 1000:03} ")
    text.append(f"{fate.topic} ", "cyan")
    text.append(f"{fate.payload_bytes} B ", "dim")
    parts = [
        (fate.stored, "stored", "green"),
        (fate.filled, "completed", "green"),
        (fate.duplicates, "duplicate", "yellow"),
        (fate.quarantined, "quarantined", "bold red"),
    ]
    said = [(f"{number} {word}", style) for number, word, style in parts if number]
    for position, (words, style) in enumerate(said or [("nothing to store", "dim")]):
        text.append(", " if position else "").append(words, style)
    if fate.reason is not None:
        text.append(f" ({fate.reason}{': ' if fate.detail else ''}{fate.detail})", "red")
    return text
