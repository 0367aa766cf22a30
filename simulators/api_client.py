"""The gateway's HTTP API, as the simulators ask it."""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self, cast

import httpx
import numpy as np
from numpy.typing import NDArray

Json = Mapping[str, object]


class GatewayAway(Exception):
    """The gateway does not answer, or not as it should."""


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where a gateway is, as it wrote it down when it became ready."""

    pid: int
    api_url: str
    api_token: str
    listen_host: str
    listen_port: int

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the gateway's own note; None as long as it is not there."""
        try:
            note = cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return cls(
            pid=int(cast("int", note["pid"])),
            api_url=str(note["api_url"]),
            api_token=str(note.get("api_token") or note.get("token")),
            listen_host=str(note.get("listen_host") or "127.0.0.1"),
            listen_port=int(cast("int", note["listen_port"])),
        )


class ApiClient:
    """Asks the gateway; every answer that is not a success raises GatewayAway."""

    def __init__(self, url: str, token: str, timeout_s: float = 60.0) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=timeout_s, trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def get(self, path: str, **params: str | float | bool) -> dict[str, object]:
        """One answer, as JSON."""
        with _translated(path):
            answer = self._http.get(path, params=params)
            answer.raise_for_status()
            return cast("dict[str, object]", answer.json())

    def items(self, path: str) -> list[Json]:
        """One answer that is a list, or a page of one."""
        with _translated(path):
            answer = self._http.get(path)
            answer.raise_for_status()
            found = answer.json()
            return cast("list[Json]", found if isinstance(found, list) else found["items"])

    def post(self, path: str, body: Mapping[str, object]) -> None:
        """Have something done."""
        with _translated(path):
            self._http.post(path, json=body).raise_for_status()

    def pages(self, path: str, **params: str | float) -> Iterator[Json]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **params, **({} if cursor is None else {"cursor": cursor}))
            yield from cast("list[Json]", page["items"])
            cursor = cast("str | None", page.get("next"))
            if cursor is None:
                return

    def hold_clock(self, until_s: float | None) -> None:
        """Let the gateway's scaled clock run up to `until_s`; None lets it run freely."""
        with _translated("/v1/clock"):
            self._http.put("/v1/clock", json={"hold_until": until_s}).raise_for_status()

    def counts(self, *, exact: bool = False) -> dict[str, object]:
        """The gateway in numbers."""
        return self.get("/v1/counts", exact=exact) if exact else self.get("/v1/counts")

    def readiness(self) -> dict[str, object]:
        """What the gateway says of its health, ready or not."""
        with _translated("/readyz"):
            return cast("dict[str, object]", self._http.get("/readyz").json())

    def reading_times_ms(self, device_id: str) -> NDArray[np.int64]:
        """The device times of all stored readings of a device, in milliseconds, as they are stored."""
        items = self.pages(f"/v1/devices/{device_id}/readings", fields="ts", limit=20_000)
        return np.fromiter((round(epoch_s(item["ts"]) * 1000) for item in items), dtype=np.int64)


def epoch_s(value: object) -> float:
    """Epoch seconds of what an answer gives as an instant: a number, or RFC 3339."""
    if isinstance(value, int | float):
        return float(value)
    return datetime.fromisoformat(str(value)).timestamp()


@contextmanager
def _translated(path: str) -> Generator[None]:
    try:
        yield
    except (httpx.HTTPError, ValueError) as error:
        raise GatewayAway(f"{path}: {error}") from error
