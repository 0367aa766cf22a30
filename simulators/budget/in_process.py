"""Plays a fleet through `careloop rehearse`: the gateway's detectors, cases and budget, by a pipe in place of doors."""

import json
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, cast

import msgspec
import numpy as np

from simulators.api_client import GatewayAway, Json
from simulators.budget.agents import Agents, Word
from simulators.budget.fleet import SYNC_S, Device, Fleet
from simulators.budget.result import Result, Told, judged, tells_of_any
from simulators.command import careloop_command
from simulators.fleet.habits import DAY_S
from simulators.stage import open_stage

END_WITHIN_S: Final = 600.0


@dataclass(slots=True)
class Rehearsal:
    """The other end of the pipe."""

    given: IO[bytes]
    told: IO[bytes]
    packets: int = 0
    _encoder: msgspec.json.Encoder = field(default_factory=msgspec.json.Encoder)

    def send(self, device: Device, until_s: float) -> None:
        """What leaves a device before a moment."""
        happenings = [{"ts": each.ts_s * 1e3, "code": each.code} for each in device.take_events(until_s)]
        for share in device.take(until_s):
            line = {
                "device": share.device_id,
                "received": share.leaves_s,
                "ts": share.ts_ms,
                "metrics": share.columns,  # NaN is written as null
                "events": happenings,
            }
            self.say(line)
            self.packets += 1
            happenings = []

    def say(self, line: Mapping[str, object]) -> None:
        """One line."""
        self.given.write(self._encoder.encode(line) + b"\n")

    def go_on(self, until_s: float) -> list[Json]:
        """Let the clock run to a moment; the cases that have opened. Raises GatewayAway."""
        self.say({"until": until_s})
        self.given.flush()
        cases: list[Json] = []
        for raw in self.told:
            line = cast("Json", json.loads(raw))
            if "until" in line:
                return cases
            cases.append(cast("Json", line["case"]))
        raise GatewayAway("careloop rehearse ended early; its words are above")

    def end(self) -> list[Json]:
        """Close the pipe, and read what all came to."""
        self.given.close()
        return [cast("Json", json.loads(raw)) for raw in self.told]


def rehearse(fleet: Fleet, folder: Path, tell: Callable[[Told], None]) -> Result:
    """Play a fleet from its first day to its last, in one process beside a gateway that only lends its registry."""
    began, rng, span = time.monotonic(), np.random.default_rng(fleet.plan.seed), fleet.plan.span
    agents = Agents(rng, lambda case: tells_of_any(case, fleet.labels))
    with open_stage(fleet, folder, rng, step_s=SYNC_S) as stage, _begin(stage.config) as rehearsal:
        now_s, opened = span.start_s, 0
        while now_s < span.end_s:
            now_s = min(now_s + SYNC_S, span.end_s)
            for device in fleet.devices:
                rehearsal.send(device, now_s)
            for case in rehearsal.go_on(now_s):
                opened += 1
                agents.see(case)
            for word in agents.due(now_s):
                rehearsal.say({"word": _as_line(word)})
            if (now_s - span.start_s) % DAY_S < SYNC_S:
                tell(Told((now_s - span.start_s) / DAY_S, rehearsal.packets, opened, agents.said))
        lines = rehearsal.end()
    alarms = [cast("Json", line["alarm"]) for line in lines if "alarm" in line]
    cases = [cast("Json", line["case"]) for line in lines if "case" in line]
    held_back = next(cast("dict[str, int]", line["held_back"]) for line in lines if "held_back" in line)
    score = judged(fleet, alarms, cases, held_back)
    return Result(score, rehearsal.packets, time.monotonic() - began)


def _as_line(word: Word) -> dict[str, object]:
    return {"case": word.case_id, "outcome": word.outcome, "at": word.at_s}


@contextmanager
def _begin(config: Path) -> Generator[Rehearsal]:
    command = [*careloop_command(), "rehearse", "--config", str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Rehearsal(process.stdin, process.stdout)
            process.wait(END_WITHIN_S)
        except BrokenPipeError as error:
            raise GatewayAway("careloop rehearse ended early; its words are above") from error
        finally:
            process.kill()
