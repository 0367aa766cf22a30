"""The services that `scripts/provision.py` has put on this machine, for tests, benchmarks and the demo."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

MANIFEST = "services.json"

TIMESCALEDB_SETTINGS: Mapping[str, str] = MappingProxyType(
    {"shared_preload_libraries": "timescaledb", "timescaledb.telemetry_level": "off"}
)
"""What a server of the provisioned programs is started with, beside the embedded one's settings."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Where the programs are. `postgres_programs` is a folder: TimescaleDB is an extension of what lies there."""

    postgres_programs: Path
    mosquitto: Path
    mosquitto_pub: Path
    mosquitto_sub: Path
    mosquitto_passwd: Path
    promtool: Path | None = None  # which only tests want; caches of before have none

    @property
    def is_complete(self) -> bool:
        """Whether every program is still where it was put."""
        programs = (self.mosquitto, self.mosquitto_pub, self.mosquitto_sub, self.mosquitto_passwd)
        return all(os.access(program, os.X_OK) for program in (self.postgres_programs / "postgres", *programs))

    def save(self, cache: Path) -> None:
        """Write the manifest, so that other processes find the programs."""
        paths = {name: getattr(self, name) for name in self.__dataclass_fields__}
        entries = {name: str(path) for name, path in paths.items() if path is not None}
        unfinished = cache / f"{MANIFEST}.new"
        unfinished.write_text(json.dumps(entries, indent=2) + "\n")
        unfinished.rename(cache / MANIFEST)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where downloaded programs are kept; as root not in its home, which is closed to PostgreSQL's account."""
    if "CARELOOP_CACHE" in environ:
        return Path(environ["CARELOOP_CACHE"]).absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/careloop")
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "careloop"


def find_provisioned(cache: Path) -> Provisioned | None:
    """What the cache holds; None when nothing was provisioned, or part of it has gone."""
    try:
        entries = json.loads((cache / MANIFEST).read_text())
        found = Provisioned(**{name: Path(path) for name, path in entries.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if found.is_complete else None
