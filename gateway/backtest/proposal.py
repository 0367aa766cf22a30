"""What is tried out: a whole profile, or some of a product model's watches."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from devices.errors import ConfigError, Fault
from devices.profiles import read_profile
from devices.profiles.model import Profile, Slug, Watch

NO_WATCHES: Final = "a product model with a profile; what has none is watched generically: try a profile with --profile"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Profiles as they might be, and in words what is different."""

    profiles: Mapping[str, Profile]
    says: Sequence[str]


class _WatchFile(BaseModel):
    """`--watch FILE`: watches that take the place of those of the same name, or are new; and names to leave out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Slug | None = None  # without it: every model that has a watch of such a name
    watches: tuple[Watch, ...] = ()
    remove: tuple[Slug, ...] = ()


def propose_profile(profiles: Mapping[str, Profile], path: Path) -> Proposal:
    """The profiles with one of them in place of the present one of its model. Raises ConfigError."""
    profile = read_profile(str(path), path)
    before = profiles.get(profile.model)
    says = f"{profile.model}: the profile in {path.name}"
    if before is None:
        raise ConfigError([Fault(f"{path}: model", repr(profile.model), f"one of {', '.join(sorted(profiles))}")])
    return Proposal({**profiles, profile.model: profile}, [says, *_differences(before, profile)])


def propose_watches(profiles: Mapping[str, Profile], path: Path) -> Proposal:
    """The profiles with some watches changed, added or left out. Raises ConfigError."""
    file = _read(path)
    changed: dict[str, Profile] = {}
    says: list[str] = []
    for model in _models_of(file, profiles, path):
        before = profiles[model]
        after = _with_watches(before, file, path)
        differences = _differences(before, after)
        if differences:
            changed[model] = after
            says += [f"{model}: {each}" for each in differences]
    if not changed:
        raise ConfigError([Fault(str(path), "what is there already", "at least one watch that differs")])
    return Proposal({**profiles, **changed}, says)


def propose_watch(profiles: Mapping[str, Profile], model: str, watch: Watch) -> Proposal:
    """The profiles with one watch of a model in place of the present one of its name. Raises ConfigError."""
    before = profiles[model]
    after = _with_watches(before, _WatchFile(model=model, watches=(watch,)), Path(watch.name))
    says = [f"{model}: {each}" for each in _differences(before, after)]
    return Proposal({**profiles, model: after}, says)


def _read(path: Path) -> _WatchFile:
    try:
        return _WatchFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([Fault(str(path), str(error), "a readable TOML file")]) from error
    except ValidationError as error:
        raise ConfigError(
            [
                Fault(f"{path}: {'.'.join(map(str, fault['loc']))}", repr(fault["input"])[:200], fault["msg"])
                for fault in error.errors(include_url=False)
            ]
        ) from error


def _models_of(file: _WatchFile, profiles: Mapping[str, Profile], path: Path) -> list[str]:
    """The product models that the file is about."""
    with_watches = {model: profile for model, profile in profiles.items() if not profile.automatic}
    if file.model is not None:
        if file.model not in with_watches:
            raise ConfigError([Fault(f"{path}: model", repr(file.model), f"{NO_WATCHES}: {', '.join(with_watches)}")])
        return [file.model]
    names = {*file.remove, *(watch.name for watch in file.watches)}
    found = [model for model, profile in with_watches.items() if names & {watch.name for watch in profile.watches}]
    if not found:
        raise ConfigError([Fault(f"{path}: model", "nothing", "the product model that new watches are for")])
    return sorted(found)


def _with_watches(profile: Profile, file: _WatchFile, path: Path) -> Profile:
    mine = {watch.name for watch in profile.watches}
    given = {watch.name: watch for watch in file.watches if file.model is not None or watch.name in mine}
    unknown = set(file.remove) - mine if file.model is not None else set[str]()
    if unknown:
        raise ConfigError([Fault(f"{path}: remove", ", ".join(sorted(unknown)), f"some of {', '.join(sorted(mine))}")])
    kept = [given.pop(watch.name, watch) for watch in profile.watches if watch.name not in file.remove]
    # without its words in other languages, which may be of watches that are gone
    told = profile.model_dump(by_alias=True, exclude={"translations"})
    fields = {**told, "watches": [*kept, *given.values()]}
    try:
        return Profile.model_validate(fields)
    except ValidationError as error:
        raise ConfigError([Fault(str(path), profile.model, each["msg"]) for each in error.errors()]) from error


def _differences(before: Profile, after: Profile) -> list[str]:
    """Which watches differ, in words."""
    old = {watch.name: watch for watch in before.watches}
    new = {watch.name: watch for watch in after.watches}
    says = [f"watch {name} is new" for name in new.keys() - old.keys()]
    says += [f"watch {name} is gone" for name in old.keys() - new.keys()]
    says += [
        f"watch {name}: {_say(old[name], new[name])}" for name in old.keys() & new.keys() if old[name] != new[name]
    ]
    return sorted(says)


def _say(old: Watch, new: Watch) -> str:
    was, now = old.model_dump(by_alias=True), new.model_dump(by_alias=True)
    changes = [f"{name} {_value(was[name])} → {_value(now[name])}" for name in was if was[name] != now[name]]
    return ", ".join(changes)


def _value(value: object) -> str:
    if isinstance(value, dict):
        pairs = [f"{name} = {one}" for name, one in value.items()]  # pyright: ignore[reportUnknownVariableType]
        return "{" + ", ".join(pairs) + "}"
    return str(value)
