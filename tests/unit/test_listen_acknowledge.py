"""PUBACKs leave in the order of their PUBLISHes, whoever decided on them."""

from devices.errors import QuarantineReason
from gateway.doors.listen.acknowledge import Acknowledgements
from gateway.doors.mqtt.codes import ReasonCode
from gateway.intake import Verdict

STORED = Verdict(stored=1)
QUARANTINED = Verdict(quarantined=1, reason=QuarantineReason.OUT_OF_RANGE, detail="heart_rate 900")


def test_settled_packets_are_acknowledged_in_one_piece() -> None:
    acknowledgements = Acknowledgements(with_reasons=True)
    acknowledgements.submitted(3, 2)
    assert acknowledgements.settle([5, 0, 0x1234], [STORED] * 3) == b"\x40\x02\x00\x05\x40\x02\x12\x34"
    assert acknowledgements.unsettled == acknowledgements.unacknowledged == 0


def test_quarantine_is_told_as_a_reason_of_success() -> None:
    acknowledgements = Acknowledgements(with_reasons=True)
    acknowledgements.submitted(2, 2)
    answer = acknowledgements.settle([1, 2], [QUARANTINED, STORED])
    reason = b"quarantined: out_of_range: heart_rate 900"
    properties = b"\x1f\x00" + bytes([len(reason)]) + reason
    body = b"\x00\x01\x00" + bytes([len(properties)]) + properties
    assert answer == b"\x40" + bytes([len(body)]) + body + b"\x40\x02\x00\x02"


def test_who_cannot_or_will_not_read_reasons_gets_none() -> None:
    acknowledgements = Acknowledgements(with_reasons=False)
    acknowledgements.submitted(1, 1)
    assert acknowledgements.settle([1], [QUARANTINED]) == b"\x40\x02\x00\x01"


def test_a_reason_is_cut_to_a_size_that_any_client_takes() -> None:
    acknowledgements = Acknowledgements(with_reasons=True)
    acknowledgements.submitted(1, 1)
    answer = acknowledgements.settle([1], [Verdict(quarantined=1, detail="ä\0" * 5000)])
    assert len(answer) < 300
    answer[answer.index(b"\x1f") + 3 :].decode()  # not cut within a character


def test_a_refusal_leaves_at_once_when_nothing_is_before_it() -> None:
    acknowledgements = Acknowledgements(with_reasons=True)
    assert acknowledgements.refuse(7, ReasonCode.NOT_AUTHORIZED, 0) == b"\x40\x03\x00\x07\x87"
    assert acknowledgements.unacknowledged == 0


def test_a_refusal_waits_for_what_came_before_it() -> None:
    acknowledgements = Acknowledgements(with_reasons=True)
    acknowledgements.submitted(1, 1)
    assert acknowledgements.refuse(3, ReasonCode.NOT_AUTHORIZED, 1) == b""  # 1, 2 of this read, then 3, 4
    assert acknowledgements.refuse(4, ReasonCode.NOT_AUTHORIZED, 1) == b""
    acknowledgements.submitted(2, 2)
    assert acknowledgements.unacknowledged == 5
    assert acknowledgements.settle([1], [STORED]) == b"\x40\x02\x00\x01"
    assert acknowledgements.settle([2, 5], [STORED] * 2) == (
        b"\x40\x02\x00\x02" + b"\x40\x03\x00\x03\x87" + b"\x40\x03\x00\x04\x87" + b"\x40\x02\x00\x05"
    )
    assert acknowledgements.unacknowledged == 0
