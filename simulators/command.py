"""The `careloop` command, as the simulators call it: as a process, like anyone else."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from simulators.api_client import GatewayAway


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
