"""What `careloop rehearse` reads, and how it comes before the detectors."""

import msgspec
import numpy as np
import pytest

from devices.profiles import AUTOMATIC, load_profiles
from gateway.detect.lines import BadLine
from gateway.rehearsal.batch import batch_of
from gateway.rehearsal.lines import Line, parse_line


def line(device: str, received: float, ts: list[float], **columns: list[float | None]) -> Line:
    return parse_line(
        msgspec.json.encode({"device": device, "received": received, "ts": ts, "metrics": columns, "events": []})
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"not json",
        b'{"device": "a", "until": 3}',
        b'{"device": "a", "ts": [1, 2], "metrics": {"x": [1]}}',
        b'{"word": {"case": "c", "outcome": "perhaps", "at": 1}}',
    ],
)
def test_what_cannot_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(BadLine):
        parse_line(raw)


def test_lines_come_in_the_order_in_which_they_were_received() -> None:
    late, early = line("a", 20.0, [5000, 6000], x=[1, None]), line("b", 10.0, [7000], y=[3])
    (samples,), events = batch_of([late, early], lambda _: AUTOMATIC)
    assert events is None
    assert samples.device_ids == ("b", "a")
    assert samples.ts_s.tolist() == [7.0, 5.0, 6.0]
    assert samples.metrics == ("x", "y")
    np.testing.assert_array_equal(samples.values, [[np.nan, 3], [1, np.nan], [np.nan, np.nan]])
    assert np.asarray(samples.alive_s).tolist() == [10.0, 20.0, 20.0]
    assert samples.row is not None
    assert np.all(np.diff(samples.row) > 0)


def test_an_event_stands_before_the_readings_of_its_line_and_each_model_has_its_samples() -> None:
    profiles = load_profiles()
    first = line("a", 1.0, [1000, 2000], shots=[1, 2])
    second = msgspec.structs.replace(line("b", 2.0, [3000], x=[4]), events=parse_line(EVENT).events)
    samples, events = batch_of([first, second], lambda name: profiles["coffee-machine"] if name == "a" else AUTOMATIC)
    assert [part.profile.model for part in samples] == ["coffee-machine", "automatic"]
    assert events is not None
    assert events.codes == ("brew_aborted",)
    assert samples[0].row is not None
    assert samples[1].row is not None
    assert samples[0].row.max() < events.row[0] < samples[1].row[0]


EVENT = b'{"device": "b", "received": 2, "events": [{"ts": 2500, "code": "brew_aborted"}]}'
