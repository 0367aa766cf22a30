"""What became of each packet, whether all fared alike or not."""

from collections.abc import Sequence

import numpy as np
import pytest

from gateway.intake import Packet, Route, Verdict
from gateway.pipeline.batch import Batch
from gateway.pipeline.packets import Packets, bunches_of
from gateway.pipeline.written import Written, verdicts_of
from gateway.store.rows import Fate, Readings, ReadingTable, StoredReadings
from tests.ingest.rig import Door


def written(fates: Sequence[tuple[int, Fate]], packets: int) -> Written:
    count, door = len(fates), Door()
    zeros = np.zeros(count, np.int64)
    readings = Readings(
        table=ReadingTable("m", "t", (), ()),
        device_ids=("d",),
        device=zeros.astype(np.int32),
        ts_us=zeros,
        received_us=zeros,
        seq=zeros,
        values=np.zeros((count, 0)),
        extra={},
        packet=np.array([packet for packet, _ in fates], np.int32),
        element=zeros.astype(np.int32),
        row=np.arange(count, dtype=np.int32),
    )
    stored = StoredReadings(readings, np.array([fate for _, fate in fates], np.uint8), readings)
    sent = [Packet(door, number, Route.TELEMETRY, "d", "t", b"", 0.0, "json") for number in range(packets)]
    return Written(Batch(Packets(bunches_of(sent)), [readings], [], [], [], []), [stored], frozenset(), [], ())


@pytest.mark.parametrize(
    ("fates", "verdicts"),
    [
        ([], []),
        ([(0, Fate.NEW), (1, Fate.NEW)], [Verdict(stored=1)] * 2),
        ([(0, Fate.FILL), (1, Fate.FILL)], [Verdict(filled=1)] * 2),
        ([(0, Fate.NEW), (0, Fate.DUPLICATE), (1, Fate.NEW), (1, Fate.DUPLICATE)], [Verdict(1, 0, 1)] * 2),
        ([(0, Fate.NEW), (1, Fate.DUPLICATE)], [Verdict(stored=1), Verdict(duplicates=1)]),
        ([(1, Fate.NEW)], [Verdict(), Verdict(stored=1)]),
        ([(0, Fate.NEW), (0, Fate.NEW), (1, Fate.NEW)], [Verdict(stored=2), Verdict(stored=1)]),
    ],
)
def test_each_packet_is_told_its_own_fate(fates: Sequence[tuple[int, Fate]], verdicts: Sequence[Verdict]) -> None:
    assert list(verdicts_of(written(fates, len(verdicts)))) == list(verdicts)
