"""What is done to a world under load. A strike returns when the world has all it needs again."""

import random
import signal
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg

from tests.faults.campaign.disk import limited
from tests.faults.campaign.world import World, signal_all
from tests.ledger.sender import wait_for
from tests.ledger.wire import Wire
from tests.services.patience import PATIENCE_S


@dataclass(slots=True)
class Struck:
    """What a strike has to tell."""

    said: str = ""  # what /readyz said while it lasted
    kills_broker: bool = False
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Strike:
    """One kind of harm."""

    name: str
    do: Callable[[World, random.Random, Struck], None]
    weight: int  # how often it comes in a cycle
    must_be_said: bool = False  # it lasts, the gateway lives: /readyz has to say why it cannot work
    needs_far_database: bool = False  # a wire before it, a disk of its own


# -- processes -------------------------------------------------------------------------------------------------------


def kill_gateway(world: World, rng: random.Random, _struck: Struck) -> None:
    """Kill -9 of the gateway; it is started again a moment later, perhaps with the other engine."""
    world.gateway.kill()
    _start_gateway(world, rng)


def stop_gateway(world: World, rng: random.Random, struck: Struck) -> None:
    """SIGTERM under load, and a start."""
    code = world.gateway.stop()
    if code != 0:
        struck.remarks.append(f"exit code {code} after SIGTERM")
    _start_gateway(world, rng)


def kill_gateway_twice(world: World, rng: random.Random, _struck: Struck) -> None:
    """Kill -9 of the gateway, and again while it starts."""
    world.gateway.kill()
    world.gateway.start()
    time.sleep(rng.uniform(0.3, 2.5))
    world.gateway.kill()
    _start_gateway(world, rng)


def _start_gateway(world: World, rng: random.Random) -> None:
    time.sleep(rng.uniform(0.0, 0.4))
    world.gateway.engine = rng.choice(("fast", "paho"))
    world.gateway.start()


def kill_postmaster(world: World, rng: random.Random, struck: Struck) -> None:
    """Kill -9 of PostgreSQL's first process; a service manager starts it again."""
    pid = world.postgres.pid
    assert pid is not None
    signal_all([pid], signal.SIGKILL)
    wait_for(lambda: world.postgres.pid != pid, PATIENCE_S)
    _watch_readyz(world, struck, rng.uniform(0.1, 1.0))
    world.start_database()


def kill_backend(world: World, rng: random.Random, _struck: Struck) -> None:
    """Kill -9 of one server process that serves careloop: PostgreSQL then ends all others, and recovers."""
    signal_all([rng.choice(world.backends())], signal.SIGKILL)


def terminate_backends(world: World, rng: random.Random, _struck: Struck) -> None:
    """An administrator ends some sessions of careloop's."""
    backends = world.backends()
    with world.sql() as conn:
        for pid in rng.sample(backends, rng.randint(1, len(backends))):
            conn.execute("SELECT pg_terminate_backend(%s)", [pid])


def restart_database(world: World, rng: random.Random, struck: Struck) -> None:
    """PostgreSQL is stopped in good order, and started."""
    world.postgres.stop()
    _watch_readyz(world, struck, rng.uniform(0.1, 1.0))
    world.start_database()


def kill_broker(world: World, rng: random.Random, struck: Struck) -> None:
    """Kill -9 of Mosquitto."""
    struck.kills_broker = True
    world.broker.kill()
    time.sleep(rng.uniform(0.0, 0.4))
    world.broker.start()


def restart_broker(world: World, rng: random.Random, _struck: Struck) -> None:
    """Mosquitto is stopped in good order, and started."""
    world.broker.stop()
    time.sleep(rng.uniform(0.0, 0.4))
    world.broker.start()


def kill_all(world: World, rng: random.Random, struck: Struck) -> None:
    """The whole machine, as it were: gateway, database and broker die in the same moment."""
    struck.kills_broker = True
    pid = world.postgres.pid
    assert pid is not None
    signal_all([pid], signal.SIGKILL)
    world.gateway.kill()
    world.broker.kill()
    wait_for(lambda: world.postgres.pid is None, PATIENCE_S)
    world.broker.start()
    world.start_database()
    _start_gateway(world, rng)


# -- the database, alive and of no use -------------------------------------------------------------------------------


def pause_database(world: World, rng: random.Random, struck: Struck) -> None:
    """SIGSTOP of every server process, and SIGCONT."""
    pids = world.server_processes()
    signal_all(pids, signal.SIGSTOP)
    try:
        _watch_readyz(world, struck, rng.uniform(5.5, 7.0), until_not_ready=True)
    finally:
        signal_all(pids, signal.SIGCONT)


def exhaust_connections(world: World, rng: random.Random, struck: Struck) -> None:
    """Strangers hold every connection that there is, and careloop's own are ended."""
    del rng
    with _strangers(world):
        _watch_readyz(world, struck, 8.0, until_not_ready=True)


@contextmanager
def _strangers(world: World) -> Generator[None]:
    with ExitStack() as stack:
        ours = stack.enter_context(psycopg.connect(world.database_url, autocommit=True))
        deadline = time.monotonic() + PATIENCE_S
        alone = 0
        while time.monotonic() < deadline and alone < 3:  # careloop's sessions come back while there is a place
            ours.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'stranger' "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            with suppress(psycopg.OperationalError):
                while True:
                    stack.enter_context(psycopg.connect(world.database_url, application_name="stranger"))
            others = ours.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name <> 'stranger' "
                "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
            alone = alone + 1 if others == (0,) else 0
        yield


def fill_disk(world: World, rng: random.Random, struck: Struck) -> None:
    """No byte more fits on the database's disk."""
    if not world.disk.is_small:
        struck.remarks.append("no file system may be mounted here: a limit on the server's files instead")
        limit_files(world, rng, struck)
        return
    with world.disk.full():
        _watch_readyz(world, struck, rng.uniform(4.0, 6.0), until_not_ready=True)
    world.start_database()


def limit_files(world: World, rng: random.Random, struck: Struck) -> None:
    """No file of the server may grow or be written beyond its first 8 KiB, as under a quota."""
    with limited(lambda: world.server_processes() if world.postgres.pid else ()):
        _watch_readyz(world, struck, rng.uniform(2.0, 4.0), until_not_ready=True)
    _restart_if_limited(world)


def _restart_if_limited(world: World) -> None:
    """Processes that were forked meanwhile have kept the limit: the quota is lifted by a restart at the latest."""
    if world.postgres.pid is not None:
        world.postgres.stop()
    world.start_database()


# -- the network -----------------------------------------------------------------------------------------------------


def cut_devices(world: World, rng: random.Random, _struck: Struck) -> None:
    """Every device's connection breaks, a few times."""
    _cut(world.device_wire, rng)


def deaden_devices(world: World, rng: random.Random, struck: Struck) -> None:
    """What devices say, or what they are told, or both, vanishes on the way; nobody is told that."""
    _deaden(world.device_wire, rng, struck)


def cut_subscription(world: World, rng: random.Random, _struck: Struck) -> None:
    """The connection to the broker breaks, a few times."""
    _cut(world.broker_wire, rng)


def deaden_subscription(world: World, rng: random.Random, struck: Struck) -> None:
    """The connection to the broker goes dead in one direction or both."""
    _deaden(world.broker_wire, rng, struck)


def cut_database(world: World, rng: random.Random, _struck: Struck) -> None:
    """Every connection to the database breaks, a few times."""
    _cut(world.database_wire, rng)


def deaden_database(world: World, rng: random.Random, struck: Struck) -> None:
    """The connections to the database go dead in one direction or both; new ones are as good as ever."""
    _deaden(world.database_wire, rng, struck)
    _watch_readyz(world, struck, 10.0, until_not_ready=True)


def _cut(wire: Wire, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        wire.cut()
        time.sleep(rng.uniform(0.0, 0.4))


def _deaden(wire: Wire, rng: random.Random, struck: Struck) -> None:
    up, down = rng.choice(((True, False), (False, True), (True, True)))
    count = wire.deaden(up=up, down=down)
    way = "both ways" if up and down else ("upwards" if up else "downwards")
    struck.remarks.append(f"{count} connections dead {way}")


# -- /readyz ---------------------------------------------------------------------------------------------------------


def _watch_readyz(world: World, struck: Struck, at_least_s: float, *, until_not_ready: bool = False) -> None:
    """Let the harm last, and remember what the gateway says of it."""
    started = time.monotonic()
    longest_s = PATIENCE_S if until_not_ready else at_least_s
    while (passed_s := time.monotonic() - started) < longest_s:
        ready, says = world.gateway.readiness()
        if not ready and says:
            struck.said = says
            if passed_s >= at_least_s:
                return
        time.sleep(0.05)


STRIKES: Final = (
    Strike("gateway killed", kill_gateway, 4),
    Strike("gateway killed twice", kill_gateway_twice, 1),
    Strike("gateway stopped", stop_gateway, 1),
    Strike("postmaster killed", kill_postmaster, 3),
    Strike("backend killed", kill_backend, 2),
    Strike("backends ended", terminate_backends, 1),
    Strike("database restarted", restart_database, 1),
    Strike("database paused", pause_database, 1, must_be_said=True),
    Strike("out of connections", exhaust_connections, 1, must_be_said=True),
    Strike("disk full", fill_disk, 1, must_be_said=True, needs_far_database=True),
    Strike("files limited", limit_files, 1, must_be_said=True),
    Strike("broker killed", kill_broker, 3),
    Strike("broker restarted", restart_broker, 1),
    Strike("all killed", kill_all, 2),
    Strike("devices cut", cut_devices, 1),
    Strike("devices half-open", deaden_devices, 1),
    Strike("subscription cut", cut_subscription, 1),
    Strike("subscription half-open", deaden_subscription, 1),
    Strike("database cut", cut_database, 1, needs_far_database=True),
    Strike("database half-open", deaden_database, 1, must_be_said=True, needs_far_database=True),
)


def schedule(rounds: int, rng: random.Random, only: str = "", *, has_far_database: bool = True) -> list[Strike]:
    """So many strikes: cycles in which each kind comes as often as it weighs, every cycle in an order of its own.

    `only` has parts of names, with commas between, and leaves out the others. Without a far database,
    what happens to the wire before it and to its own disk is left out.
    """
    wanted = [part.strip() for part in only.split(",")]
    able = [strike for strike in STRIKES if has_far_database or not strike.needs_far_database]
    kinds = [strike for strike in able if any(part in strike.name for part in wanted)]
    if not kinds:
        message = f"no strike has {only!r} in its name: {', '.join(strike.name for strike in able)}"
        raise ValueError(message)
    chosen: list[Strike] = []
    while len(chosen) < rounds:
        cycle = [strike for strike in kinds for _ in range(strike.weight)]
        rng.shuffle(cycle)
        chosen += cycle
    return chosen[:rounds]


def named(*names: str) -> list[Strike]:
    """Strikes by their names."""
    by_name = {strike.name: strike for strike in STRIKES}
    return [by_name[name] for name in names]
