"""Names that the field gives its metrics, as names that every table, profile and query takes."""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

_LONGEST: Final = 110
_OTHER: Final = re.compile(r"\W+")


def metric_name(text: str) -> str:
    """Letters, digits and ``_``: everything else becomes ``_``, none at either end, and long names are cut.

    ``Inputs/Temperature (°C)`` is ``Inputs_Temperature_C``. Case stays. What a cut or an empty name loses, a checksum
    of the whole name makes up for.
    """
    name = _OTHER.sub("_", text).strip("_")
    if not name:
        return f"metric_{_checksum(text)}"
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}_{_checksum(text)}"


def metric_names(texts: Iterable[str]) -> Mapping[str, str]:
    """The name of each, all different: where two would become the same, each of them bears its checksum."""
    names = {text: metric_name(text) for text in texts}
    many = Counter(names.values())
    return {text: name if many[name] == 1 else f"{name}_{_checksum(text)}" for text, name in names.items()}


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode(errors='replace')):08x}"
