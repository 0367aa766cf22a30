"""A backtest in a process of its own: the `main` of this module, started by a gateway and by nobody else.

Judging months of readings keeps a processor busy for minutes, which the process that takes readings in does not have.
It works with the least priority, and lives no longer than the gateway: a thread waits for the end of its input.
"""

import asyncio
import base64
import os
import threading
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import psycopg

from devices.errors import CareloopError
from gateway.backtest import summary
from gateway.backtest.picture import draw
from gateway.backtest.run import Report, reading, run_backtest
from gateway.backtest.words import Failed, Progress, Result, Task, Word
from gateway.child_process import read_first, take_input, take_output

TELL_EVERY_S: Final = 0.3
LEAST_PRIORITY: Final = 15


def main() -> None:
    """Read a task from standard input, and say in lines of JSON how far it is and what came of it."""
    said, words = take_input(), take_output()
    task = read_first(said, Task)
    threading.Thread(target=_die_with, args=(said,), daemon=True).start()
    os.nice(LEAST_PRIORITY)
    _say(words, _work(task, words))


def _die_with(said: FileIO) -> None:
    while said.read(1):
        pass
    os._exit(1)


def _say(words: FileIO, word: Word) -> None:
    line = memoryview(msgspec.json.encode(word) + b"\n")
    while line:
        line = line[words.write(line) :]


def _work(task: Task, words: FileIO) -> Word:
    told_s = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_EVERY_S:
            told_s = time.monotonic()
            _say(words, Progress(done, total))

    try:
        report = asyncio.run(run_backtest(task.plan, progress))
        if not report.readings:
            return Failed("no_history", "no reading of that time is stored")
        return _result(report, task.says, asyncio.run(_draw(task.plan.url, report, task.says)))
    except CareloopError as error:
        return Failed(error.reason, error.detail)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        return Failed("no_temporary_tables", str(error).strip())
    except psycopg.Error as error:
        return Failed("database_unreachable", str(error).strip())


def _result(report: Report, says: Sequence[str], picture: bytes) -> Result:
    return Result(
        columns=[name for name, _ in summary.columns(report)],
        rows=[(row.name, list(row.cells), row.is_heading) for row in summary.rows(report)],
        report=summary.as_json(report, says),
        picture=base64.b64encode(picture).decode(),
    )


async def _draw(url: str, report: Report, says: Sequence[str]) -> bytes:
    with TemporaryDirectory(prefix="careloop-backtest-") as folder:
        path = Path(folder) / "picture.png"
        async with reading(url) as conn:
            await draw(conn, report, says, path)
        return await asyncio.to_thread(path.read_bytes)
