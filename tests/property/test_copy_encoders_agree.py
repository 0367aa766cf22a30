"""Readings become the same COPY buffer whether Python or the compiled loop encodes them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store.binary_copy import best_encoder, encode_by_device
from gateway.store.native import load_encoder
from gateway.store.rows import MAX_TS_US, NO_SEQ, Extra, Readings, ReadingTable

TABLE = ReadingTable("m", "reading_m", ("a", "b", "c"), ("a", "b", "c"))
DEVICES = ("k", "kettle-2", "x" * 64, "never heard of")
VALUES = st.floats(allow_nan=True, allow_infinity=True)
INSTANTS = st.integers(0, MAX_TS_US)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        INSTANTS,
        INSTANTS,
        st.just(NO_SEQ) | st.integers(0, 2**63 - 1),
        st.tuples(VALUES, VALUES, st.just(float("nan")) | VALUES),
        st.integers(0, 2**31 - 1),
    ),
    max_size=30,
)


def readings_of(rows: list[tuple[int, int, int, int, tuple[float, ...], int]], extra: dict[int, Extra]) -> Readings:
    device, ts_us, received_us, seq, values, row = zip(*rows, strict=True) if rows else ((),) * 6
    nothing = np.zeros(len(rows), np.int32)
    return Readings(
        table=TABLE,
        device_ids=DEVICES,
        device=np.array(device, np.int32),
        ts_us=np.array(ts_us, np.int64),
        received_us=np.array(received_us, np.int64),
        seq=np.array(seq, np.int64),
        values=np.array(values, np.float64).reshape(len(rows), 3),
        extra=extra,
        packet=nothing,
        element=nothing,
        row=np.array(row, np.int32),
    )


@given(ROWS, st.integers(0, 2**62), st.booleans())
@settings(max_examples=150)
def test_both_encode_alike(
    rows: list[tuple[int, int, int, int, tuple[float, ...], int]], batch_seq: int, is_sliced: bool
) -> None:
    compiled = load_encoder()
    assert compiled is not None, "python scripts/build_native.py, which needs a C compiler (cc)"
    readings = readings_of(rows, {})
    if is_sliced:  # columns that do not lie in one piece
        readings = readings_of([row for row in rows for _ in range(2)], {}).take(np.arange(0, 2 * len(rows), 2))
    told, buffer = encode_by_device(readings, batch_seq)
    again_told, again = compiled(readings, batch_seq)
    assert again_told == told
    assert bytes(again) == bytes(buffer)


def test_what_has_no_column_goes_the_other_way() -> None:
    readings = readings_of([(1, 5, 6, 7, (1.0, 2.0, 3.0), 0), (0, 5, 6, 7, (1.0, 2.0, 3.0), 1)], {1: {"d": 4.0}})
    told, buffer = best_encoder()(readings, 1)
    assert told == [0, 1, 2]
    assert b'{"d":4.0}' in bytes(buffer)


@pytest.mark.parametrize("place", [0, 1])
def test_the_readings_of_a_device_stand_together(place: int) -> None:
    rows = [(device, 5, 6, 7, (1.0, 2.0, 3.0), row) for row, device in enumerate([2, 0, 2, 0])]
    encode = (best_encoder(), encode_by_device)[place]
    parts = bytes(encode(readings_of(rows, {}), 1)[1]).split(b"\x00\x0a\x00\x00\x00")
    assert [part[0] for part in parts[1:]] == [1, 1, 64, 64]
