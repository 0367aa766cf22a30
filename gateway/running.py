"""Where the gateway that runs on this machine is to be found: a small file in its state folder.

While it starts there is another file, so that a command that comes a moment too early can wait for it.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from devices.errors import ConfigError, Fault
from gateway.settings import Settings

START_WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """Where a running gateway can be reached, as it wrote it down when it became ready."""

    pid: int
    api_url: str | None
    api_token: str | None
    listen_host: str | None
    listen_port: int | None


def _file(settings: Settings) -> Path:
    return settings.state.folder / "gateway.json"


def _starting(settings: Settings) -> Path:
    return settings.state.folder / "gateway.starting"


def announce_start(settings: Settings) -> None:
    """Say that a gateway is being started. Raises ConfigError where the state folder cannot be written."""
    path = _starting(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(str(os.getpid()), "utf-8")
    except OSError as error:
        found = f"{path.parent} ({error.strerror})"
        raise ConfigError([Fault("state.folder", found, "a folder that careloop can write to")]) from error


def remember_gateway(settings: Settings, gateway: RunningGateway) -> None:
    """Write down where this gateway can be reached, for this user's other commands only."""
    path = _file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.{gateway.pid}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(gateway)), "utf-8")
    unfinished.rename(path)
    _starting(settings).unlink(missing_ok=True)


def forget_gateway(settings: Settings) -> None:
    """This gateway runs no longer, or has not come up."""
    _file(settings).unlink(missing_ok=True)
    _starting(settings).unlink(missing_ok=True)


def wait_for_gateway(settings: Settings) -> RunningGateway | None:
    """The gateway that runs on these settings, or None; one that is just being started is waited for."""
    deadline = time.monotonic() + START_WITHIN_S
    while starting_process(settings) is not None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return find_gateway(settings)


def starting_process(settings: Settings) -> int | None:
    """The process of a gateway that is being started on these settings, or waits as standby; or None."""
    try:
        pid = int(_starting(settings).read_text("utf-8"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def find_gateway(settings: Settings) -> RunningGateway | None:
    """The gateway that runs on these settings, or None."""
    try:
        found = RunningGateway(**json.loads(_file(settings).read_text("utf-8")))
        os.kill(found.pid, 0)
    except PermissionError:  # it runs, as somebody else
        return None
    except (OSError, ValueError, TypeError):
        return None
    return found
