"""What a gateway and its backtest's process say to each other: a task, then lines of JSON."""

from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.backtest.run import Plan


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be judged again, and in words what is different."""

    plan: Plan
    says: tuple[str, ...]


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far it is, in readings."""

    done: int
    total: int


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What came of it: the table of `careloop backtest`, its JSON, and its picture as PNG in base64."""

    columns: list[str]
    rows: list[tuple[str, list[str], bool]]
    report: dict[str, Any]
    picture: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Why nothing came of it."""

    reason: str
    detail: str


Word = Progress | Result | Failed


def decode(line: bytes) -> Word:
    """One line of what the process says. Raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=Word)
