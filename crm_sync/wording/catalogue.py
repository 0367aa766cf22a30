"""Finds the words of a language: those that come with careloop, and over them a company's own."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, cast

from babel import Locale, UnknownLocaleError
from pydantic import ValidationError

from crm_sync.wording.model import ANYTHING_ELSE, Words, names_in
from crm_sync.wording.wording import Wording
from devices.errors import ConfigError, Fault

DEFAULT: Final = "en"
_SUFFIX: Final = ".toml"


@dataclass(frozen=True, slots=True)
class Wordings:
    """The wordings of every language that there are words for."""

    by_language: Mapping[str, Wording]
    usual: str = DEFAULT  # the company's language

    def of(self, language: str | None = None) -> Wording:
        """The wording of a BCP 47 tag such as `it-CH`, else of its language alone, else of the company's."""
        tag = (language or self.usual).replace("_", "-")
        known = self.by_language
        return known.get(tag) or known.get(tag.split("-")[0].lower()) or known[self.usual]


def load_wordings(usual: str = DEFAULT, folder: str = "") -> Wordings:
    """The words that come with careloop, with those of a folder's `<language>.toml` in their place.

    A file of the folder holds what it changes; one of a language that careloop has no words for holds all of them.
    Raises ConfigError with every fault of every file.
    """
    tables = {name: tomllib.loads(text) for name, text in _shipped()}
    english = tables[DEFAULT]
    faults: list[Fault] = []
    own_words = Path(folder).expanduser() if folder else None
    if own_words is not None and not own_words.is_dir():
        faults.append(Fault("crm.wording_folder", folder, "a folder of TOML files, such as it.toml"))
        own_words = None
    for path in () if own_words is None else sorted(own_words.glob(f"*{_SUFFIX}")):
        try:
            own = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            faults.append(Fault("crm.wording_folder", str(path), f"a TOML file that can be read ({error})"))
            continue
        tables[path.stem] = _over(tables.get(path.stem, {}), own)
    wordings = {name: wording for name, table in tables.items() if (wording := _check(name, table, english, faults))}
    if usual not in wordings and not faults:
        allowed = f"a language that there are words for: {', '.join(sorted(wordings))}"
        faults.append(Fault("crm.language", usual, allowed))
    if faults:
        raise ConfigError(faults)
    return Wordings(wordings, usual)


def _shipped() -> Iterator[tuple[str, str]]:
    for file in resources.files(__package__ or "crm_sync.wording").iterdir():
        if file.name.endswith(_SUFFIX):
            yield file.name.removesuffix(_SUFFIX), file.read_text("utf-8")


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One table over another; phrases of the upper one are asked first."""
    joined = dict(below)
    for name, value in above.items():
        under = below.get(name)
        if isinstance(value, dict) and isinstance(under, dict):
            joined[name] = _over(cast("dict[str, Any]", under), cast("dict[str, Any]", value))
        elif isinstance(value, list) and isinstance(under, list) and name == "phrases":
            joined[name] = [*cast("list[Any]", value), *cast("list[Any]", under)]
        else:
            joined[name] = value
    return joined


def _check(name: str, table: Mapping[str, Any], english: Mapping[str, Any], faults: list[Fault]) -> Wording | None:
    """A language's wording; None where something is wrong with it, which is then among the faults."""
    before = len(faults)
    try:
        locale = Locale.parse(name, sep="-")
    except (UnknownLocaleError, ValueError):
        faults.append(Fault("crm.wording_folder", f"{name}{_SUFFIX}", "a file named by a language, such as it.toml"))
        return None
    try:
        words = Words.model_validate(table)
    except ValidationError as error:
        for each in error.errors():
            where = ".".join(str(part) for part in each["loc"])
            faults.append(Fault("crm.wording_folder", f"{name}{_SUFFIX}: {where}", each["msg"]))
        return None
    faults += [
        Fault("crm.wording_folder", f"{name}{_SUFFIX}: {where}: {text}", allowed)
        for where, text, allowed in _misfilled(table, english)
    ]
    if ANYTHING_ELSE not in words.titles:
        faults.append(Fault("crm.wording_folder", f"{name}{_SUFFIX}: titles", f"a title named {ANYTHING_ELSE!r}"))
    return Wording(name, words, locale) if len(faults) == before else None


def _misfilled(table: Mapping[str, Any], english: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str, str]]:
    """Patterns that fill in what there is not: where, the pattern, and what is allowed."""
    for name, value in table.items():
        where, model = f"{path}{name}", english.get(name)
        if isinstance(value, dict):
            below = cast("dict[str, Any]", model) if isinstance(model, dict) else {}
            yield from _misfilled(cast("dict[str, Any]", value), below, f"{where}.")
        elif isinstance(value, str) and path != "dates.":
            given = _allowed(path, model)
            try:
                unknown = names_in(value) - given
            except ValueError as error:
                yield where, value, f"a text whose braces close ({error})"
                continue
            if unknown:
                yield where, value, f"nothing in braces but {', '.join(sorted(given)) or 'nothing'}"


def _allowed(path: str, english: object) -> frozenset[str]:
    if path == "signs.":
        return frozenset({"name", "observed", "expected", "span"})
    if path == "titles.":
        return frozenset({"product", "problem"})
    return names_in(english) if isinstance(english, str) else frozenset()
