"""A JSON payload taken apart: each element of an array with the bytes that it was read from.

More lenient than JSON, so that one reading with NaN in it does not spoil the array that it stands in.
"""

import json
from collections.abc import Iterator
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
    return list(Walk(payload))


class Walk:
    """The elements of a payload one after the other, as far as somebody wants to go; a payload is walked through once.

    A step raises what `elements` does, so that only who has come to the end knows that all of it is well.
    """

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._scanner: _Scanner | None = None

    def __iter__(self) -> Iterator[Element]:
        try:
            self._scanner = _Scanner(self._payload.decode())
            yield from self._scanner.elements()
        except UnicodeDecodeError as error:
            raise Rejected(QuarantineReason.MALFORMED, f"not UTF-8 at byte {error.start}") from error
        except json.JSONDecodeError as error:
            raise Rejected(
                QuarantineReason.MALFORMED,
                f"not JSON at character {error.pos}: {error.msg}",
            ) from error
        except RecursionError as error:
            raise Rejected(QuarantineReason.MALFORMED, "nested too deeply") from error

    def last_and_rest(self) -> bytes:
        """The bytes of the element of an array that was given last and of all that follow it, as an array."""
        return b"" if self._scanner is None else b"[" + self._scanner.last_and_rest()


def _parse_int(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INT else float(text)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._start = 0  # of the last element
        self._decoder = json.JSONDecoder(parse_int=_parse_int)

    def elements(self) -> Iterator[Element]:
        if not self._take("["):
            yield self._element()
        elif not self._take("]"):
            yield self._element()
            while self._take(","):
                yield self._element()
            if not self._take("]"):
                raise self._error("expected , or ]")
        self._take("")
        if self._at != len(self._text):
            raise self._error("more text after the end")

    def last_and_rest(self) -> bytes:
        return self._text[self._start :].encode()

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
        self._start = self._at
        value, self._at = cast("tuple[object, int]", self._decoder.raw_decode(self._text, self._start))
        return Element(self._text[self._start : self._at].encode(), value)

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, self._at)
