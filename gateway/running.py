"""Where the gateway that runs on this machine is to be found: a small file in its state folder."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.settings import Settings


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


def remember_gateway(settings: Settings, gateway: RunningGateway) -> None:
    """Write down where this gateway can be reached, for this user's other commands only."""
    path = _file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.{gateway.pid}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(gateway)), "utf-8")
    unfinished.rename(path)


def forget_gateway(settings: Settings) -> None:
    """This gateway runs no longer."""
    _file(settings).unlink(missing_ok=True)


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
