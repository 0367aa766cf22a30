"""careloop's settings: commented defaults in the package, then the user's TOML, then ``CARELOOP_*`` variables."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from crm_sync.settings import CrmSettings
from crm_sync.trust.settings import BudgetSettings, TrustSettings
from devices.clock import Clock, ScaledClock, SystemClock
from devices.errors import ConfigError, Fault
from gateway.cohorts.settings import FleetSettings
from gateway.commands.settings import CommandSettings
from gateway.console.settings import ConsoleSettings
from gateway.detect.settings import DetectSettings
from gateway.doors.settings import ListenSettings, RouteSettings, SubscribeSettings
from gateway.maintenance.settings import MaintenanceSettings, RetentionSettings
from gateway.order.settings import OrderSettings
from gateway.people.settings import PeopleSettings
from gateway.pipeline.settings import BatchSettings, IngestSettings

ENVIRONMENT_PREFIX: Final = "CARELOOP_"
_PASSWORD: Final = re.compile(r"(?<=://)([^/@]*):[^/@]*@")
_QUERY: Final = re.compile(r"(?<=[\w/])\?\S+=\S*")
_SHOWN_CHARACTERS: Final = 60
_SECRET: Final = re.compile("(password|secret|token|key)$")

Tree = dict[str, object]
ExpandedPath = Annotated[Path, AfterValidator(Path.expanduser)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TenantSettings(_Section):
    """Whose devices these are."""

    controller: Annotated[str, Field(max_length=200)] = ""  # the company's name, for consent records
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "default"


class StateSettings(_Section):
    """Where the gateway keeps what is not in the database."""

    folder: ExpandedPath = Path("~/.local/share/careloop").expanduser()


class DatabaseSettings(_Section):
    """Which database; an empty URL means the embedded one."""

    url: str = ""
    password_file: str = ""
    embedded: Literal["postgresql", "timescaledb", "auto"] = "postgresql"
    pool_size: Annotated[int, Field(ge=2, le=200)] = 8


class ClockSettings(_Section):
    """Which clock decides silence, quiet hours and expiry."""

    kind: Literal["system", "scaled"] = "system"
    start: Annotated[
        str, BeforeValidator(lambda value: value.isoformat() if isinstance(value, datetime) else value)
    ] = ""
    speed: Annotated[float, Field(gt=0)] = 1.0
    held: bool = False

    @model_validator(mode="after")
    def _start_is_an_instant(self) -> "ClockSettings":
        if self.kind == "scaled" and not self.start:
            message = "the scaled clock needs a start, such as 2026-01-01T00:00:00Z"
            raise ValueError(message)
        if self.start:
            parse_instant_s(self.start)
        return self


class ProfilesSettings(_Section):
    """Where device profiles lie, besides the shipped ones."""

    folders: tuple[ExpandedPath, ...] = ()


class ApiSettings(_Section):
    """The HTTP API."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    token: SecretStr = SecretStr("")
    token_file: str = ""
    metrics: Literal["loopback", "anyone", "nobody"] = "loopback"
    public_url: Annotated[str, Field(pattern=r"^(https?://[^/?#]+)?$")] = ""


class LogSettings(_Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


class Settings(_Section):
    """Everything that can be set, built once and passed down."""

    tenant: TenantSettings
    state: StateSettings
    database: DatabaseSettings
    listen: ListenSettings
    subscribe: SubscribeSettings
    routes: tuple[RouteSettings, ...] = ()
    batch: BatchSettings
    ingest: IngestSettings
    order: OrderSettings
    maintenance: MaintenanceSettings
    retention: RetentionSettings
    clock: ClockSettings
    profiles: ProfilesSettings
    detect: DetectSettings
    fleet: FleetSettings
    commands: CommandSettings
    api: ApiSettings
    console: ConsoleSettings
    people: PeopleSettings
    crm: CrmSettings
    budget: BudgetSettings
    trust: TrustSettings
    log: LogSettings

    @model_validator(mode="before")
    @classmethod
    def _records_lead_to_the_console(cls, given: Any) -> Any:
        match given:
            case {"api": {"public_url": str(url)}, "console": {"enabled": True}, "crm": {"endpoints": list()}} if url:
                tree = cast("dict[str, Any]", given)
                usual = {"case_link": f"{url}/cases/{{case_id}}"}
                endpoints: list[Any] = tree["crm"]["endpoints"]
                told: list[Any] = [
                    {**usual, **cast("dict[str, Any]", each)} if isinstance(each, dict) else each for each in endpoints
                ]
                return {**tree, "crm": {**tree["crm"], "endpoints": told}}
            case _:
                return given

    @model_validator(mode="after")
    def _has_a_door(self) -> "Settings":
        if not (self.listen.enabled or self.subscribe.enabled):
            message = "at least one of listen.enabled and subscribe.enabled must be true"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _contacts_outlive_caps(self) -> "Settings":
        if 0 < self.retention.owners < self.crm.outreach.longest_cap_s:
            message = "retention.owners must be as long as the longest of crm.outreach.caps: contacts count so long"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each of them was said."""

    settings: Settings
    values: Mapping[str, object]  # by dotted name, as given
    origins: Mapping[str, str]  # by dotted name: "default", the file's path, or the environment variable's name


def parse_instant_s(text: str) -> float:
    """Epoch seconds of an RFC 3339 instant with an offset. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        message = f"{text!r} names no offset from UTC"
        raise ValueError(message)
    return instant.timestamp()


def build_clock(settings: ClockSettings) -> Clock:
    """The clock that the settings ask for."""
    if settings.kind == "system":
        return SystemClock()
    start_s = parse_instant_s(settings.start)
    return ScaledClock(start_s, settings.speed, start_s if settings.held else None)


def load_settings(config: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings in force. Raises ConfigError with every fault at once."""
    return load(config, environment).settings


def load(config: Path | None, environment: Mapping[str, str]) -> Loaded:
    """The settings in force and the origin of each. Raises ConfigError with every fault at once."""
    layers = [
        (
            "default",
            tomllib.loads(files("gateway").joinpath("settings.default.toml").read_text("utf-8")),
        )
    ]
    if config is not None:
        layers.append((str(config), _read_toml(config)))
    tree: Tree = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        _merge(tree, layer)
        origins.update((name, origin) for name, _ in _leaves(layer))
    for variable, name, value in _from_environment(environment):
        _merge(tree, _nested(name, value))
        origins[name] = variable
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_faults(error, origins)) from error
    return Loaded(settings, dict(_leaves(tree)), origins)


def mask_url(text: str) -> str:
    """The same text, without the password and the query of a URL, which may hold secrets."""
    return _QUERY.sub("?********", _PASSWORD.sub(r"\1:********@", text))


def _read_toml(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([Fault("--config", str(path), f"a file that can be read ({error.strerror})")]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([Fault("--config", str(path), f"a TOML file ({error})")]) from error


def _merge(tree: Tree, layer: Mapping[str, object]) -> None:
    for key, value in layer.items():
        below = tree.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            _merge(cast("Tree", below), cast("Tree", value))
        else:
            tree[key] = value


def _leaves(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(cast("Tree", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _nested(name: str, value: object) -> Tree:
    head, _, rest = name.partition(".")
    return {head: _nested(rest, value) if rest else value}


def _from_environment(
    environment: Mapping[str, str],
) -> Iterator[tuple[str, str, object]]:
    """Each variable that is a setting: its name, the setting's dotted name, the value."""
    for variable, text in sorted(environment.items()):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        if name == variable or "__" not in name:
            continue
        yield variable, name.lower().replace("__", "."), _parse_value(text)


def _parse_value(text: str) -> object:
    """A TOML value where the text is one (``true``, ``7``, ``["a"]``), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _faults(error: ValidationError, origins: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or "settings"
        found = _found(item["type"], name, item["input"])
        origin = origins.get(name) or next((at for key, at in origins.items() if key.startswith(f"{name}.")), None)
        allowed = _meant(name, origins) if item["type"] == "extra_forbidden" else _allowed(item["msg"])
        faults.append(Fault(name, f"{found} ({origin})" if origin else found, allowed))
    return faults


def _found(kind: str, name: str, value: object) -> str:
    if kind == "missing":
        return "nothing"
    if kind == "extra_forbidden" and isinstance(value, dict | list | str):  # which may be a password, under any name
        return f"a {'text' if isinstance(value, str) else 'list' if isinstance(value, list) else 'table'} of that name"
    return "a value that is not shown" if _SECRET.search(name) else _shown(value)


def _allowed(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input should be ")


def _meant(name: str, origins: Mapping[str, str]) -> str:
    """What to say of a name that is none: the one that looks most like it, where one does."""
    depth = name.count(".") + 1
    known = {".".join(each.split(".")[:depth]) for each, origin in origins.items() if origin == "default"}
    close = difflib.get_close_matches(name, known, 1, 0.8)
    meant = f", perhaps {close[0]}" if close else ""
    return f"no setting of that name{meant}; `careloop config show` lists them all"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "these settings together"
    text = repr(mask_url(value) if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
