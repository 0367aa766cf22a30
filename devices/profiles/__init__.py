"""Product models as data: one TOML file each, found through entry points and in the operator's own folders."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol, cast

from pydantic import ValidationError

from devices.errors import ConfigError, Fault
from devices.installed import registered
from devices.profiles.model import Profile

__all__ = ["AUTOMATIC", "Profile", "load_profiles", "read_profile"]

AUTOMATIC: Final = Profile(
    model="automatic",
    title="Any product",
    description="Stands in for products without a profile: kinds, ranges, cadence and habits are learnt.",
    automatic=True,
)

_ALLOWED_WORDS: Final = 200  # characters of a wrong value that a fault repeats


class _Source(Protocol):
    """A file on disk, or one inside an installed package."""

    def read_text(self, encoding: str | None = None) -> str: ...


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    source: _Source


def load_profiles(folders: Sequence[Path] = ()) -> dict[str, Profile]:
    """Every profile by model: the installed ones (entry points `careloop.profiles`), then ``*.toml`` in `folders`.

    A folder's profile takes the place of an installed one of the same model; the automatic profile is always there.

    Raises ConfigError naming the file and field of every fault.
    """
    faults: list[Fault] = []
    profiles = {AUTOMATIC.model: AUTOMATIC}
    own: dict[str, str] = {}  # model -> the operator's file that describes it
    for found in _installed():
        try:
            profile = read_profile(found.name, found.source)
        except ConfigError as error:
            faults.extend(error.faults)
        else:
            profiles[profile.model] = profile
    for found in _in_folders(folders, faults):
        try:
            profile = read_profile(found.name, found.source)
        except ConfigError as error:
            faults.extend(error.faults)
            continue
        if profile.model in own:
            faults.append(
                Fault(f"{found.name}: model", profile.model, f"a name of its own: {own[profile.model]} has this one")
            )
        own[profile.model] = found.name
        profiles[profile.model] = profile
    faults.extend(_confusable(profiles))
    if faults:
        raise ConfigError(faults)
    return profiles


def _confusable(profiles: Mapping[str, Profile]) -> Iterator[Fault]:
    """Models that differ by - and _ only would share a table."""
    seen: dict[str, str] = {}
    for model in profiles:
        other = seen.setdefault(model.replace("-", "_"), model)
        if other != model:
            yield Fault("model", model, f"a name that differs from {other} by more than - and _")


def read_profile(name: str, source: _Source) -> Profile:
    """The profile in one TOML file; `name` is what faults call it. Raises ConfigError with every fault in the file."""
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = str(getattr(error, "strerror", None) or error)
        raise ConfigError([Fault(name, why, "a readable file in UTF-8")]) from error
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Fault(name, str(error), "TOML")]) from error
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(
            [
                Fault(f"{name}: {_place(fault['loc'])}", _shown(fault["input"]), fault["msg"])
                for fault in error.errors(include_url=False)
            ]
        ) from error


def _installed() -> Iterator[_Found]:
    for entry in sorted(registered("careloop.profiles"), key=lambda entry: entry.name):
        yield _Found(f"{entry.value}/profile.toml", files(entry.value) / "profile.toml")


def _in_folders(folders: Sequence[Path], faults: list[Fault]) -> Iterator[_Found]:
    for folder in folders:
        if not folder.is_dir():
            faults.append(Fault("profiles.folders", str(folder), "folders that exist"))
            continue
        for path in sorted(folder.glob("*.toml")):
            yield _Found(str(path), path)


def _place(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "profile"


def _shown(value: object) -> str:
    words = f"{len(cast('Mapping[str, object]', value))} fields" if isinstance(value, Mapping) else repr(value)
    return words if len(words) <= _ALLOWED_WORDS else f"{words[:_ALLOWED_WORDS]}…"
