"""The console's words: English texts are their own keys, and each language has a catalogue of what it says instead."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final

from markupsafe import Markup

from gateway.console.words.sentences import Sentences, load_sentences, say_anew

ENGLISH: Final = "en"
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "it": "Italiano"}


@dataclass(frozen=True, slots=True)
class Words:
    """What is said in one language."""

    language: str = ENGLISH
    catalogue: Mapping[str, str] = field(default_factory=dict[str, str])
    refusals: Sentences = ()
    findings: Sentences = ()

    def say(self, english: str, **values: object) -> str:
        """A text in this language, its ``{name}`` parts filled in."""
        text = self.catalogue.get(english, english)
        if any(isinstance(value, Markup) for value in values.values()):
            return Markup(text).format_map(values)  # noqa: S704 - our own text; what is filled in is escaped
        return text.format_map(values) if values else text

    def count(self, one: str, many: str, n: int) -> str:
        """A text for a number of things; ``{n}`` in it is the number."""
        return self.say(one if n == 1 else many, n=self.number(n))

    def word(self, code: object) -> str:
        """A closed word of ours, such as ``usage_drop``, as people say it."""
        plain = str(code).replace("_", " ")
        return self.catalogue.get(plain, plain)

    def refused(self, detail: str) -> str:
        """Why a message was refused, as far as there are words for it."""
        return say_anew(detail, self.refusals)

    def found(self, finding: str) -> str:
        """What the doctor says, as far as there are words for it."""
        return say_anew(finding, self.findings)

    def number(self, value: float, digits: int = 0) -> str:
        """A number as it is written in this language."""
        text = f"{value:,.{digits}f}"
        return text.translate(_ITALIAN_SIGNS) if self.language == "it" else text


_ITALIAN_SIGNS: Final = str.maketrans({",": ".", ".": ","})


def load_words() -> Mapping[str, Words]:
    """Every language's words."""
    folder = files("gateway.console.words")
    known: dict[str, Words] = {}
    for language in LANGUAGES:
        catalogue = tomllib.loads(folder.joinpath(f"{language}.toml").read_text("utf-8"))
        words = {str(key): str(value) for key, value in catalogue.items()}
        refusals, findings = (load_sentences(folder, of, language) for of in ("refused", "doctor"))
        known[language] = Words(language, words, refusals, findings)
    return known


def choose_language(chosen: str | None, accepted: str) -> str:
    """The language that somebody chose, else the best that their browser accepts (RFC 9110, 12.5.4)."""
    if chosen in LANGUAGES:
        return chosen
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        language = tag.split("-")[0].lower()
        if language in LANGUAGES:
            ranked.append((-_quality(quality), place, language))
    return min(ranked)[2] if ranked else ENGLISH


def _quality(text: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        return 0.0
