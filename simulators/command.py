"""Programs: how simulators call the `careloop` command, and how they end what they started themselves."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from simulators.api_client import GatewayAway

INTERRUPTED: Final = 130  # the exit code of what a signal ended


def careloop_command() -> list[str]:
    """How to call `careloop`: the one installed beside this Python, else the one on the path."""
    beside = Path(sys.executable).with_name("careloop")
    found = str(beside) if beside.exists() else shutil.which("careloop")
    if found is None:
        raise GatewayAway("the careloop command is not installed")
    return [found]


def import_registry(path: Path, config: Path) -> None:
    """Introduce devices to the gateway of a settings file. Raises GatewayAway with what the command says."""
    run_careloop(["devices", "import", str(path), "--config", str(config)])


def run_careloop(arguments: Sequence[str], given: str = "") -> None:
    """Run a command to its end. Raises GatewayAway with what it says."""
    command = [*careloop_command(), *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise GatewayAway(f"careloop {' '.join(arguments[:2])}: {done.stderr.strip() or done.stdout.strip()}")


@contextmanager
def interrupted_by_signals() -> Generator[None]:
    """Let SIGTERM and SIGHUP interrupt what goes on, as Ctrl-C does, so that everything that was started ends, too.

    What was ignored before stays so: who calls with `nohup` wants it to outlive the terminal.
    """
    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
