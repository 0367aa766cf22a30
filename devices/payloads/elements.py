"""A JSON payload taken apart: each element of an array with the bytes that it was read from.

More lenient than JSON, so that one reading with NaN in it does not spoil the array that it stands in.
"""

import json
from dataclasses import dataclass
from typing import Final, cast

from devices.errors import QuarantineReason, Rejected

_BLANK: Final = " \t\n\r"
_LONGEST_INT: Final = 20  # digits; more are no sequence number, and Python refuses to parse thousands of them


@dataclass(frozen=True, slots=True)
class Element:
    """One value, and its own bytes."""

    raw: bytes
    value: object


def elements(payload: bytes) -> list[Element]:
    """The elements of an array, or the one value that is there.

    Raises Rejected (malformed) where the payload is not UTF-8, not JSON, or nested beyond all reason.
    """
    try:
        return _Scanner(payload.decode()).elements()
    except UnicodeDecodeError as error:
        raise Rejected(QuarantineReason.MALFORMED, f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Rejected(
            QuarantineReason.MALFORMED,
            f"not JSON at character {error.pos}: {error.msg}",
        ) from error
    except RecursionError as error:
        raise Rejected(QuarantineReason.MALFORMED, "nested too deeply") from error


def _parse_int(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INT else float(text)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decoder = json.JSONDecoder(parse_int=_parse_int)

    def elements(self) -> list[Element]:
        if not self._take("["):
            return self._end([self._element()])
        if self._take("]"):
            return self._end([])
        found = [self._element()]
        while self._take(","):
            found.append(self._element())
        if not self._take("]"):
            raise self._error("expected , or ]")
        return self._end(found)

    def _take(self, mark: str) -> bool:
        """Step over blanks, and over `mark` where it comes next."""
        text, at = self._text, self._at
        while at < len(text) and text[at] in _BLANK:
            at += 1
        taken = text.startswith(mark, at)
        self._at = at + len(mark) if taken else at
        return taken

    def _element(self) -> Element:
        self._take("")
        start = self._at
        value, self._at = cast("tuple[object, int]", self._decoder.raw_decode(self._text, start))
        return Element(self._text[start : self._at].encode(), value)

    def _end(self, found: list[Element]) -> list[Element]:
        self._take("")
        if self._at != len(self._text):
            raise self._error("more text after the end")
        return found

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._at)
