"""The picture that travels with a case."""

from base64 import b64decode
from dataclasses import replace
from xml.etree import ElementTree as ET

from crm_sync.chart import attach_chart, chart_of, draw_chart
from crm_sync.model import AlarmState
from crm_sync.outbox import OutboxMessage, encode_body
from crm_sync.settings import MessageType
from devices.profiles.model import Severity
from tests.unit.test_brief import HOT, HOUR, NOW, SUBJECT

SVG = "{http://www.w3.org/2000/svg}"
LONG = replace(HOT, evidence=tuple((NOW - (500 - n) * 60, 100.0 + n % 7) for n in range(501)))


def parse(drawn: str | bytes) -> ET.Element:
    return ET.fromstring(drawn)  # noqa: S314 - we have just drawn it


def test_it_draws_values_over_time_and_where_the_trouble_began() -> None:
    drawn = parse(draw_chart(HOT, SUBJECT, "Too hot"))
    line = drawn.find(f"{SVG}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)  # 118, 127, 131: ever higher
    (began,) = (each for each in drawn.iter(f"{SVG}line") if each.get("class") == "a")
    assert float(began.attrib["x1"]) == points[1][0]
    texts = [each.text for each in drawn.iter(f"{SVG}text")]
    assert texts == ["Too hot", "131.2", "118", "2026-03-03 10:00", "2026-03-03 12:00"]


def test_it_is_small_however_much_there_is_to_draw() -> None:
    assert len(draw_chart(LONG, SUBJECT, "x" * 5000)) < 2500


def test_a_title_cannot_break_out_of_it() -> None:
    drawn = parse(draw_chart(HOT, SUBJECT, '"><script>alert(1)</script>&'))
    assert drawn.find(f".//{SVG}script") is None
    assert drawn.attrib["aria-label"] == '"><script>alert(1)</script>&'


def test_a_line_that_is_flat_is_in_the_middle() -> None:
    drawn = draw_chart(replace(HOT, evidence=tuple((NOW + n, 5.0) for n in range(4))), SUBJECT, "Stuck")
    assert drawn.count(",92 ") >= 3


def test_the_gravest_alarm_with_enough_to_see_is_drawn() -> None:
    bare = replace(HOT, alarm_id="alm_2", evidence=HOT.evidence[:2])
    mild = replace(HOT, alarm_id="alm_3", severity=Severity.MINOR, started_at_s=NOW + HOUR)
    wrong = replace(HOT, alarm_id="alm_4", state=AlarmState.RETRACTED)
    assert chart_of([bare, mild, HOT, wrong]) is HOT
    assert attach_chart([bare, wrong], SUBJECT, "Too hot") is None


def test_it_goes_whole_or_not_at_all() -> None:
    chart = attach_chart([LONG], SUBJECT, "Too hot")
    assert chart is not None
    assert parse(b64decode(chart["base64"])).tag == f"{SVG}svg"
    message = OutboxMessage("t", "crm", "case_1", MessageType.CASE_OPENED, {"brief": "b" * 4000, "chart": chart}, NOW)
    assert chart["base64"].encode() in encode_body(message)
    clipped = encode_body(message, limit=5000)
    assert len(clipped) < 5000
    assert b'"chart":null' in clipped
    assert b"b" * 1000 in clipped
