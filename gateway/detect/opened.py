"""A file or a pipe as lines with their numbers, whatever it is packed in or written with."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, cast

from devices.errors import CareloopError

CHUNK_BYTES: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"
_LONE: Final = re.compile(rb"\r[^\r\n]")
_WIDE: Final = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_ASCII: Final = bytes(1 if 0 < byte < 128 else byte for byte in range(256))  # noqa: PLR2004 - as letters are
_WIDE_UNMARKED: Final = {b"\1\0\1\0": "utf-16-le", b"\0\1\0\1": "utf-16-be"}

Numbered = Sequence[tuple[int, bytes]]
"""Lines with their numbers, without their ends."""


def read_chunks(source: BinaryIO) -> Iterator[Numbered]:
    """Lines with their numbers, as many at a time as are there: a pipe is read as it fills.

    Raises CareloopError where what is packed is damaged.
    """
    number, begun = 0, list[bytes]()  # pieces of a line that goes on: all of a file's JSON may be one
    try:
        for data in _ended(_unpacked(source)):
            first, *others = data.split(b"\n")
            begun.append(first)
            if others:
                lines = [b"".join(begun), *others[:-1]]
                begun = others[-1:]
                yield [(number + at, line) for at, line in enumerate(lines, 1)]
                number += len(lines)
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise CareloopError("damaged", f"after line {number}: {error}") from error
    if rest := b"".join(begun):
        yield [(number + 1, rest)]


def _ended(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same with lines that end in LF, where they end in CR alone, as Excel writes them for the Macintosh.

    That shows in the first end of a line, and what follows it.
    """
    begun = b""
    for piece in pieces:
        begun += piece
        if b"\n" in begun:
            break
        if _LONE.search(begun) is not None:
            yield begun.replace(b"\r", b"\n")
            for each in pieces:
                yield each.replace(b"\r", b"\n")
            return
        if b"\r" not in begun:  # a long line comes in many pieces
            yield begun
            begun = b""
    yield begun
    yield from pieces


def _unpacked(source: BinaryIO) -> Iterator[bytes]:
    """Its bytes as UTF-8: unpacked where it is packed by gzip, and rewritten where it begins like UTF-16."""
    first = _read(source)
    if first.startswith(_GZIP):
        source = cast("BinaryIO", gzip.GzipFile(fileobj=_Begun(first, source)))
        first = _read(source)
    encoding = _WIDE.get(first[:2]) or _WIDE_UNMARKED.get(first[:4].translate(_ASCII))
    decoder = None if encoding is None else codecs.getincrementaldecoder(encoding)()
    data = first
    while data:
        yield data if decoder is None else decoder.decode(data).encode()
        data = _read(source)
    if decoder is not None:
        decoder.decode(b"", final=True)


def _read(source: BinaryIO) -> bytes:
    return getattr(source, "read1", source.read)(CHUNK_BYTES)


class _Begun(io.RawIOBase):
    """A source whose first bytes were read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if not self._first:
            return self._rest.read(size)
        size = len(self._first) if size < 0 else size
        given, self._first = self._first[:size], self._first[size:]
        return given
