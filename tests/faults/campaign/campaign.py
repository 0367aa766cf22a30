"""A whole campaign: its rounds, then every reading at once, the cases in the CRM, and the run without faults."""

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import environ
from pathlib import Path

from gateway.database.provisioned import Provisioned, cache_folder, find_provisioned
from tests.faults.campaign import twin
from tests.faults.campaign.crm import check_cases
from tests.faults.campaign.fleet import Fleet, Ports, registry
from tests.faults.campaign.rounds import RoundResult, Rounds, final_audit
from tests.faults.campaign.strikes import Strike
from tests.faults.campaign.world import Make, World, running_world
from tests.ledger.audit import Findings

COLUMNS = (
    "round  fault                  engine published PUBACKed   stored quarant.  unacked (stored)"
    "  lost by us/broker  back s"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is to be."""

    strikes: Sequence[Strike]
    seed: int
    edition: str
    folder: Path
    load: float = 1.0
    minutes: float = float("inf")  # then no further round begins
    again: str = ""  # the command that shows the same once more


def run(plan: Plan, *, keep: bool = False) -> int:
    """Run a campaign and print it; the exit code."""
    provisioned = find_provisioned(cache_folder(environ))
    if provisioned is None:
        print("TimescaleDB and Mosquitto are missing: run `make provision` first")
        return 2
    faults = campaign(plan, provisioned)
    for fault in faults:
        print(f"WRONG: {fault}")
    if faults:
        print(f"To see it again: {plan.again}")
    if faults or keep:
        print(f"Logs are in {plan.folder}")
    else:
        shutil.rmtree(plan.folder, ignore_errors=True)
    print("FAILED" if faults else "PASSED")
    return 1 if faults else 0


def campaign(plan: Plan, provisioned: Provisioned) -> list[str]:
    """Play every round until one goes wrong, then compare the ends; what is wrong, in words."""
    now_ms = int(time.time() * 1000)
    make = Make(plan.folder, provisioned, plan.edition, plan.seed, small_disk=True)
    devices = list(registry(Fleet(now_ms, Ports(0, 0)), len(plan.strikes)))
    with running_world(make, devices) as world:
        fleet = Fleet(now_ms, Ports(world.device_wire.port, world.broker.port), plan.load)
        rounds = Rounds(world, fleet, plan.seed)
        try:
            faults = _play(plan, rounds)
        finally:
            rounds.end()
        if not faults:
            faults = _compare_ends(world, rounds, devices)
        if faults:
            (plan.folder / "faults.txt").write_text("\n".join(faults))
        return faults


def _play(plan: Plan, rounds: Rounds) -> list[str]:
    started_s = time.monotonic()
    print(COLUMNS, flush=True)
    played: Counter[str] = Counter()
    for number, strike in enumerate(plan.strikes):
        if time.monotonic() - started_s > 60 * plan.minutes:
            break
        result = rounds.play(number, strike)
        played[strike.name] += 1
        print(row_of(result), flush=True)
        if result.faults:
            return [f"round {number} ({strike.name}): {fault}" for fault in result.faults]
    print(f"{sum(played.values())} rounds in {time.monotonic() - started_s:.0f} s:", flush=True)
    print("  " + ", ".join(f"{name} {count}" for name, count in sorted(played.items())), flush=True)
    return []


def row_of(result: RoundResult) -> str:
    """A round's line of the table, and what else there is to say of it."""
    found = result.findings
    line = (
        f"{result.number:5}  {result.strike:22} {result.engine:6} {found.published:9} {found.acknowledged:8} "
        f"{found.stored:8} {found.quarantined:8} {found.given_up:8} ({found.given_up_stored:4}) "
        f"{len(found.lost):11}/{len(found.lost_by_broker):<6} {result.back_after_s:7.1f}"
    )
    if result.remarks:
        line += f"\n       {'; '.join(result.remarks)}"
    if result.said:
        line += f"\n       /readyz: {result.said}"
    return line


def _compare_ends(world: World, rounds: Rounds, devices: twin.Devices) -> list[str]:
    found = final_audit(rounds)
    print(_totals(found), flush=True)
    faults = [f"all rounds together: {len(keys)} {name}, such as {keys[0]}" for name, keys in found.faults.items()]
    told, wrong = check_cases(world, rounds)
    print(told, flush=True)
    faults += wrong
    told, wrong = twin.compare(world, devices)
    print(told, flush=True)
    return faults + wrong


def _totals(found: Findings) -> str:
    return (
        f"all rounds: {found.published} published, {found.acknowledged} acknowledged, {found.stored} stored once, "
        f"{found.quarantined} in quarantine, {len(found.lost)} lost, {len(found.doubled)} doubled, "
        f"{len(found.disordered)} out of order; "
        f"of {found.given_up} never acknowledged ones {found.given_up_stored} are there, once; "
        f"{len(found.lost_by_broker)} were lost by the killed broker before they reached careloop"
    )
