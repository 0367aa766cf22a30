"""Backtests that people started: one at a time, with how far each is, and what came of the last ones."""

import asyncio
import base64
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import uuid4

import msgspec

from crm_sync.cases.desk import Desk
from devices.errors import CareloopError
from devices.profiles.model import Profile
from gateway.backtest.run import Plan
from gateway.backtest.words import Failed, Progress, Result, Task, decode
from gateway.child_process import command_of, encode_first
from gateway.detect.settings import DetectSettings
from gateway.store.history import Wanted

PROCESS: Final = "gateway.backtest.process"
KEPT: Final = 20
MOST_LINE_BYTES: Final = 64 * 2**20


WARM_UP_S: Final = 28 * 86_400.0
"""History before the span that teaches the detectors, as the command's own default."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What every backtest of a gateway stands on."""

    url: str
    desk: Desk
    detect: DetectSettings

    def plan(self, tenant_id: str, wanted: Wanted, proposed: Mapping[str, Profile]) -> Plan:
        """What is judged again, with the profiles as they are and as they might be."""
        return Plan(self.url, tenant_id, wanted, round(WARM_UP_S * 1e6), self.desk, self.detect, proposed)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wanted to know; instants are the gateway's clock."""

    tenant_id: str
    model: str
    watch: str
    by: str
    since_s: float
    until_s: float
    says: Sequence[str]  # what is different from the watch as it is installed


@dataclass(slots=True)
class Job:
    """One backtest, from its start to what came of it."""

    job_id: str
    asked: Asked
    began_s: float
    state: Literal["running", "done", "failed", "stopped"] = "running"
    done: int = 0
    total: int = 0
    result: Result | None = None
    detail: str = ""
    work: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def picture(self) -> bytes | None:
        """As PNG."""
        return None if self.result is None else base64.b64decode(self.result.picture)


class Backtests:
    """Those of one gateway, in memory: they can be asked for again."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._jobs: dict[str, Job] = {}

    def start(self, asked: Asked, task: Task) -> Job:
        """Begin one. Raises CareloopError where another one runs."""
        if any(each.state == "running" for each in self._jobs.values()):
            raise CareloopError("busy", "another backtest runs; wait for it, or stop it")
        job = Job(f"bt_{uuid4().hex}", asked, self._now_s())
        self._jobs[job.job_id] = job
        while len(self._jobs) > KEPT:
            del self._jobs[next(iter(self._jobs))]
        job.work = asyncio.create_task(_run(job, encode_first(task)), name="backtest")
        return job

    def of(self, tenant_id: str, model: str, watch: str) -> list[Job]:
        """Those of a tenant's watch, the newest first."""
        return [
            job
            for job in reversed(self._jobs.values())
            if job.asked.tenant_id == tenant_id and (job.asked.model, job.asked.watch) == (model, watch)
        ]

    def find(self, tenant_id: str, job_id: str) -> Job | None:
        """One of a tenant's."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.asked.tenant_id == tenant_id else None

    def stop(self, job: Job) -> None:
        """End it before its time."""
        if job.work is not None and job.state == "running":
            job.state = "stopped"
            job.work.cancel()


async def _run(job: Job, task: bytes) -> None:
    process = await asyncio.create_subprocess_exec(*command_of(PROCESS), stdin=PIPE, stdout=PIPE, limit=MOST_LINE_BYTES)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(task)  # and is left open: its end is the end of the process
        async for line in process.stdout:
            _hear(job, line)
        if job.state == "running":
            job.state, job.detail = "failed", "its process has ended before it was through"
    except (OSError, ValueError, msgspec.DecodeError) as error:
        job.state, job.detail = "failed", f"{type(error).__name__}: {error}"[:500]
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()


def _hear(job: Job, line: bytes) -> None:
    match decode(line):
        case Progress(done, total):
            job.done, job.total = done, total
        case Result() as result:
            job.state, job.result = "done", result
        case Failed(_, detail):
            job.state, job.detail = "failed", detail
