"""Sentences that other rooms say in English, in the reader's language: each is recognised by its words.

Why a message was refused, as decoders say it, and what the doctor finds.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Final

_PART: Final = re.compile(r"\{(\w)\}")
_MOST_NESTED: Final = 5  # a reason, its device's clock, when that was set, and the month
_LONGEST: Final = 2000  # letters; what is longer is nobody's sentence, and takes long to be looked through


@dataclass(frozen=True)
class Sentence:
    """What is said in English, with its parts in braces, and what is said instead."""

    said: str
    instead: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """How it is recognised; made when it is first looked for, since there are hundreds, and few readers of them."""
        pieces = _PART.split(self.said)  # text, name, text, name, … text
        parts = (f"(?P<{piece}>.+?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
        return re.compile("".join(parts), re.DOTALL)


Sentences = Sequence[Sentence]


def load_sentences(folder: Traversable, of: str, language: str) -> Sentences:
    """Those of a room in a language, the ones with most words of their own first: the more exact one is found."""
    path = folder.joinpath(f"{of}_{language}.toml")
    told = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    known = sorted(told.items(), key=lambda pair: -len(_PART.sub("", pair[0])))
    return tuple(Sentence(said, str(instead)) for said, instead in known)


def say_anew(detail: str, sentences: Sentences, nested: int = _MOST_NESTED) -> str:
    """A sentence in another language, its parts too; one that nobody has translated stays as it is."""
    for sentence in sentences if nested and len(detail) <= _LONGEST else ():
        found = sentence.pattern.fullmatch(detail)
        if found is not None:
            parts = {name: say_anew(part, sentences, nested - 1) for name, part in found.groupdict().items()}
            return sentence.instead.format(**parts)
    return detail
