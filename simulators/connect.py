"""How a simulator is pointed at a gateway or a broker from the command line."""

import ssl
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from simulators.api_client import GatewayAddress, GatewayAway
from simulators.command import import_registry
from simulators.fleet.link import Target

_Command = TypeVar("_Command", bound=Callable[..., Any])
DEFAULT_STATE: Final = "~/.local/share/careloop"


@dataclass(frozen=True, slots=True)
class Where:
    """What the options say."""

    config: Path | None
    host: str
    port: int
    username: str | None
    password_file: Path | None
    cafile: Path | None
    tls: bool

    def target(self) -> Target:
        """Where devices connect to. Raises GatewayAway when the gateway of a settings file does not run."""
        context = ssl.create_default_context(cafile=self.cafile) if self.tls or self.cafile else None
        password = None if self.password_file is None else self.password_file.read_text(encoding="utf-8").strip()
        if self.config is None:
            return Target(self.host, self.port, self.username, password, context)
        address = GatewayAddress.read(state_folder(self.config) / "gateway.json")
        if address is None:
            raise GatewayAway(f"no gateway runs on {self.config}: start `careloop run --config {self.config}` first")
        return Target(address.listen_host, address.listen_port, self.username, password, context)

    def introduce(self, registry: Path) -> bool:
        """Import the devices into the gateway of the settings file; False where there is none to be told."""
        if self.config is None:
            return False
        import_registry(registry, self.config)
        return True


def state_folder(config: Path) -> Path:
    """The state folder that a settings file names."""
    settings = cast("Mapping[str, Mapping[str, object]]", tomllib.loads(config.read_text(encoding="utf-8")))
    return Path(str(settings.get("state", {}).get("folder", DEFAULT_STATE))).expanduser()


_OPTIONS: Final = (
    click.option(
        "--config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Settings file of a gateway that runs on this machine: its port is found and the devices are imported.",
    ),
    click.option("--host", default="127.0.0.1", show_default=True, help="Gateway or broker."),
    click.option("--port", default=1883, show_default=True, help="Its MQTT port."),
    click.option("--username", help="One account for all devices, as brokers often have it."),
    click.option(
        "--password-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File that holds the account's password.",
    ),
    click.option("--tls/--no-tls", default=False, help="MQTT over TLS."),
    click.option(
        "--cafile",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Authority that signed the other side's certificate (PEM); implies --tls.",
    ),
)


def where_options(command: _Command) -> _Command:
    """Add the options to a command; they arrive as `config`, `host`, `port` and so on."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
