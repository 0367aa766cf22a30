"""JSON as people have it besides the lines of `careloop detect`: arrays of objects, and objects that are rows."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, cast

import msgspec

from devices.errors import CareloopError
from gateway.detect.columns import Asked
from gateway.detect.instants import Instants
from gateway.detect.lines import BadLine, read_json
from gateway.detect.opened import Numbered
from gateway.detect.tables import Table, TableRow, begins_table

LINES: Final = frozenset({"metrics", "event", "events"})
"""What has one of these is a line of ours."""
LOOKED_AT: Final = 100
"""Lines of what has no name; where none of them begins as JSON it is a table, if not a good one."""
_OURS: Final = frozenset({"device", "ts"})
_BOM: Final = b"\xef\xbb\xbf"
_JSON: Final = (b"{", b"[")
_EXPECTED: Final = (
    'expected is {"device", "ts", "metrics"} a line, or an object a row, in lines or in an array, as pandas writes with'
    ' orient="records"'
)

Record = dict[str, object]
_RECORD: Final = msgspec.json.Decoder(Record)
_ARRAY: Final = msgspec.json.Decoder(list[object])


def open_records(chunks: Iterator[Numbered]) -> tuple[bool, str, Iterator[Numbered]]:
    """Whether the objects of a file are rows of a table, what each is called, and the file with an object a line.

    A file that begins with an array is read to its end first. Raises CareloopError where nothing of it can be read.
    """
    first, whole = _look(chunks)
    if not first.startswith(b"["):
        return _is_row(first), "line", whole
    objects = _read_array(b"\n".join(line for chunk in whole for _, line in chunk).strip().removeprefix(_BOM))
    lines = [(number, msgspec.json.encode(each)) for number, each in enumerate(objects, 1)]
    return not lines or _is_row(lines[0][1]), "object", iter([lines])


def looks_like_table(chunks: Iterator[Numbered]) -> tuple[bool, Iterator[Numbered]]:
    """Whether what has no name that tells is a table, and all chunks still.

    It is none where one of its first lines begins as JSON does, behind such as cannot be read. No more lines are looked
    at than are needed: no second one behind one of JSON, and no third one behind a row with a number.
    """
    begun: list[Numbered] = []
    first = b""
    for count, text in enumerate(_texts(chunks, begun), 1):
        if text.startswith(_JSON if count == 1 else b"{"):
            return False, itertools.chain(begun, chunks)
        if count == LOOKED_AT or (first and begins_table(first, text)):
            return True, itertools.chain(begun, chunks)
        first = first or text
    return bool(first), iter(begun)


def _look(chunks: Iterator[Numbered]) -> tuple[bytes, Iterator[Numbered]]:
    """The first line that is not empty, and all chunks still."""
    begun: list[Numbered] = []
    first = next(_texts(chunks, begun), b"")
    return first, itertools.chain(begun, chunks)


def _texts(chunks: Iterator[Numbered], begun: list[Numbered]) -> Iterator[bytes]:
    """The lines that are not empty; each chunk is put behind those that were begun before its lines are looked at."""
    for chunk in chunks:
        begun.append(chunk)
        for _, line in chunk:
            if text := line.removeprefix(_BOM).strip():
                yield text


def _read_array(text: bytes) -> list[Record]:
    try:
        found = read_json(text, _ARRAY)
    except BadLine as error:
        raise CareloopError("malformed", f"the array of JSON cannot be read: {error}") from error
    for number, each in enumerate(found, 1):
        if not isinstance(each, dict):
            raise CareloopError("malformed", f"object {number} of the array is {each!r:.40}; {_EXPECTED}")
    return cast("list[Record]", found)


def _is_row(text: bytes) -> bool:
    """Whether the first object is a row. Raises CareloopError where it holds rows or columns of its own."""
    try:
        record = read_json(text, _RECORD)
    except BadLine:
        if text == b"{":
            raise CareloopError("malformed", f"one object stands in several lines; {_EXPECTED}") from None
        return False
    if LINES & record.keys() or not record.keys() - _OURS:
        return False
    if all(isinstance(each, dict | list) for each in record.values()):
        raise CareloopError(
            "malformed", f"the first object holds {', '.join(record)}, which are no values; {_EXPECTED}"
        )
    return True


class RecordTable(Table):
    """A table whose rows are objects of JSON, of which the first one names the columns."""

    def __init__(self, asked: Asked, instants: Instants, each: str) -> None:
        """`each` is what objects are called by their numbers."""
        super().__init__(replace(asked, has_header=True), instants, each)
        self._keys: Sequence[str] = ()  # the header's names, with the blanks around them
        self._strange: set[str] = set()  # names that the first object has not, and that were said

    def rows(self, chunk: Numbered) -> Iterator[TableRow]:
        """Each row, in order. Raises CareloopError where the columns cannot be told."""
        for number, raw in chunk:
            if not (text := raw.removeprefix(_BOM).strip()):
                continue
            try:
                record = read_json(text, _RECORD)
            except BadLine as error:
                yield TableRow((), None, BadLine(f"{self.each} {number}: {error}"))
                continue
            if not self._keys:
                self._keys = list(record)
                yield from self.take(number, self._keys, ", ".join(record))
            for name in record.keys() - {*self._keys} - self._strange:
                self._strange.add(name)
                self.note(f"{name!r} is not in the first object, and is not judged")
            yield from self.take(number, [_cell(record.get(key)) for key in self._keys], "")


def _cell(value: object) -> str:
    """A value of JSON as a table would have it; one that holds others is a text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
