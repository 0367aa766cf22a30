"""The fixtures every test may use; the services behind them are real, and their absence is a failure."""

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Tests start hundreds of processes. Where bytecode is not kept, each compiles all of careloop anew, which is more work
# than the rest of its start. It is kept where Python looks for it by itself: that of the libraries is there already.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.pop("PYTHONPYCACHEPREFIX", None)
sys.dont_write_bytecode = False
sys.pycache_prefix = None

# Folders first: the others import it, and pytest wants to rewrite its assertions before that.
pytest_plugins = (
    "tests.services.folders",
    "tests.services.order",
    "tests.services.postgres",
    "tests.services.mosquitto",
    "tests.services.mqttjs",
    "tests.services.gateway",
    "tests.services.crm",
    "tests.services.receiver",
    "tests.services.senders",
    "tests.services.django_helpdesk",
    "tests.services.roundup",
    "tests.services.chromium",
    "tests.services.console",
)

# How long an example takes says more of the machine than of the code. The examples are the same in every run, so that a
# change that is refused is at fault itself; `make test ARGS="--hypothesis-profile=wander tests/property"` seeks others.
settings.register_profile("wander", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("house", parent=settings.get_profile("wander"), derandomize=True)
settings.load_profile("house")

# Tracebacks as careloop writes them: those that structlog draws by default, with every local variable, take up to a
# second each where a frame holds much.
_NO_LOCALS = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _NO_LOCALS])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without the cycle collector, which would look through all of them for each thousand more.

    They and the modules that they import stay to the end, so that nothing of them is garbage in a test either.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Commands that run in a test's own process set up logs for all of it; the next test finds them as before."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
        logging.getLogger().handlers.clear()


WORKERS_PER_CORE = 2
WORKER_BYTES = 2 << 30  # with two database servers, a gateway and its database, and a browser


def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: more workers than cores, as far as memory goes, for half of the time tests wait for processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(WORKERS_PER_CORE * cores, memory // WORKER_BYTES))
