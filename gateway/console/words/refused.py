"""Why a message was refused, in the reader's language: what decoders say in English is recognised by its sentence."""

import re
import tomllib
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from typing import Final

Sentences = Sequence[tuple[re.Pattern[str], str]]
"""What is said in English, with its parts, and what is said instead."""

_PART: Final = re.compile(r"\{(\w)\}")
_MOST_NESTED: Final = 3
_LONGEST: Final = 2000  # letters; what is longer is nobody's sentence, and takes long to be looked through


def load_sentences(folder: Traversable, language: str) -> Sentences:
    """Those of a language, the ones with most words of their own first, so that the more exact one is found."""
    path = folder.joinpath(f"refused_{language}.toml")
    told = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    known = sorted(told.items(), key=lambda pair: -len(_PART.sub("", pair[0])))
    return tuple((_pattern(said), str(instead)) for said, instead in known)


def say_refused(detail: str, sentences: Sentences, nested: int = _MOST_NESTED) -> str:
    """A detail of an entry in quarantine; a sentence that nobody has translated stays as it is."""
    for pattern, told in sentences if nested and len(detail) <= _LONGEST else ():
        found = pattern.fullmatch(detail)
        if found is not None:
            parts = {name: say_refused(part, sentences, nested - 1) for name, part in found.groupdict().items()}
            return told.format(**parts)
    return detail


def _pattern(said: str) -> re.Pattern[str]:
    pieces = _PART.split(said)  # text, name, text, name, … text
    parts = (f"(?P<{piece}>.+?)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
    return re.compile("".join(parts), re.DOTALL)
