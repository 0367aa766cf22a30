"""The sandbox CRM keeps its book as a naive CRM would, and sees what a gateway does wrong."""

import time

import numpy as np
import pytest
import standardwebhooks

from simulators.crm.misbehave import Misbehaviour, Whim
from simulators.crm.records import Book, Message
from simulators.crm.signature import fault_in, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def message(number: int, kind: str, version: int | None, case_id: str = "case_1") -> Message:
    data = {
        "case_id": case_id,
        "version": version,
        "state": kind.removeprefix("case."),
        "alarms": [{"alarm_id": "alm_1"}],
    }
    return Message.read(f"msg_{number}", {"type": kind, "data": data})


def test_one_case_is_one_record_however_often_its_message_comes() -> None:
    book = Book()
    for _ in range(3):
        book.take(message(1, "case.opened", 1), 0.0)
    assert (len(book.records), book.duplicate_records, book.seen_again) == (1, 0, 2)


def test_a_case_opened_under_another_message_id_is_a_double_record() -> None:
    book = Book()
    book.take(message(1, "case.opened", 1), 0.0)
    book.take(message(2, "case.opened", 1), 0.0)
    assert book.duplicate_records == 1


def test_versions_out_of_order_and_cases_never_opened_are_seen() -> None:
    book = Book()
    book.take(message(1, "case.opened", 1), 0.0)
    book.take(message(2, "case.resolved", 3), 0.0)
    book.take(message(3, "case.updated", 2), 0.0)
    book.take(message(4, "case.updated", 1, case_id="case_2"), 0.0)
    assert (book.out_of_order, book.orphans) == (1, 1)


def test_the_first_request_counts_whatever_is_answered() -> None:
    book = Book()
    book.hear(message(1, "case.opened", 1), 5.0)
    book.hear(message(1, "case.opened", 1), 9.0)
    assert book.first_heard == {"case_1": 5.0, "alm_1": 5.0}
    assert not book.records


def test_a_signature_of_another_implementation_is_believed() -> None:
    body = b'{"test": 2432232314}'
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    assert fault_in(SECRET, headers | {"webhook-signature": f"v1,bad v1a,x {signature}"}, body, 1614265330.0) is None
    assert sign(SECRET, headers["webhook-id"], 1614265330.9, body)["webhook-signature"] == signature


def test_another_implementation_believes_our_callbacks() -> None:
    body = b'{"type":"case.status"}'
    standardwebhooks.Webhook(SECRET).verify(body, sign(SECRET, "msg_1", time.time(), body))


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "msg.1"},
        {"webhook-timestamp": "9.5"},
        {"webhook-timestamp": "1"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    ],
)
def test_a_bad_signature_is_refused_without_an_accident(change: dict[str, str]) -> None:
    good = sign(SECRET, "msg_1", 1000.0, b"{}")
    assert fault_in(SECRET, good, b"{}", 1000.0) is None
    assert fault_in(SECRET, good | change, b"{}", 1000.0) is not None
    assert fault_in(SECRET, good, b"{ }", 1000.0) is not None


def test_whims_come_as_often_as_they_should() -> None:
    rng = np.random.default_rng(1)
    drawn = [Misbehaviour(late=0.2, throttle=0.1).draw(rng) for _ in range(4000)]
    assert 0.17 < drawn.count(Whim.LATE) / len(drawn) < 0.23
    assert 0.08 < drawn.count(Whim.THROTTLE) / len(drawn) < 0.12
    assert all(Misbehaviour.none().draw(rng) is Whim.BEHAVE for _ in range(100))
