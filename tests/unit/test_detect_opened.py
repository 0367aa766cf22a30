"""A file or a pipe as lines, whatever it is packed in, and in whichever pieces it comes."""

import gzip
import io

import pytest

from devices.errors import CareloopError
from gateway.detect.opened import read_chunks


def test_what_is_packed_or_wide_is_read_all_the_same() -> None:
    text = "timestamp,value\n" + "".join(f"{number},{number}\n" for number in range(20_000))
    plain = list(read_chunks(io.BytesIO(text.encode())))
    for packed in (gzip.compress(text.encode()), text.encode("utf-16"), gzip.compress(text.encode("utf-16"))):
        lines = [line for chunk in read_chunks(io.BytesIO(packed)) for line in chunk]
        assert lines == [line for chunk in plain for line in chunk]
    with pytest.raises(CareloopError, match="damaged"):
        list(read_chunks(io.BytesIO(gzip.compress(text.encode())[:-4000])))
    wrong = bytearray(gzip.compress(text.encode()))
    wrong[len(wrong) // 2 : len(wrong) // 2 + 64] = bytes(64)
    with pytest.raises(CareloopError, match="damaged"):
        list(read_chunks(io.BytesIO(wrong)))
    assert list(read_chunks(io.BytesIO(b""))) == []


def test_a_line_that_comes_in_very_many_pieces_is_one_line() -> None:
    """As a file of JSON in one line does: with each piece all of the line so far was copied, and looked through."""

    class Drops(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            del size
            return super().read1(100)

    long = b"x" * 3_000_000
    chunks = list(read_chunks(Drops(b"first\n" + long + b"\n\n" + long)))
    assert [line for chunk in chunks for line in chunk] == [(1, b"first"), (2, long), (3, b""), (4, long)]
