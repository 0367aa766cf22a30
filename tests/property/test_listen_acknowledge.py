"""For any mixture of PUBLISHes, refusals and batches, acknowledgements come in order and none is missing."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.listen.acknowledge import Acknowledgements
from gateway.doors.mqtt.codes import ReasonCode
from gateway.intake import Verdict


def packet_ids(answer: bytes) -> list[int]:
    found: list[int] = []
    at = 0
    while at < len(answer):
        assert answer[at] == 0x40
        found.append(int.from_bytes(answer[at + 2 : at + 4], "big"))
        at += 2 + answer[at + 1]
    return found


# Each read: for each of its PUBLISHes QoS 0, QoS 1, or refused; and how many packets are settled after it.
reads = st.lists(st.tuples(st.lists(st.sampled_from(["qos0", "qos1", "refused"]), max_size=6), st.integers(0, 8)))


@given(reads, st.booleans())
def test_order(reads: list[tuple[list[str], int]], with_reasons: bool) -> None:
    acknowledgements = Acknowledgements(with_reasons=with_reasons)
    waiting: list[int] = []
    expected: list[int] = []
    answers = b""

    def settle(count: int) -> None:
        nonlocal waiting, answers
        tokens, waiting = waiting[:count], waiting[count:]
        verdicts = [Verdict(quarantined=token % 3 == 0) for token in tokens]
        answers += acknowledgements.settle(tokens, verdicts)

    for read, settled in reads:
        tokens: list[int] = []
        for kind in read:
            packet_id = len(expected) + 1
            if kind != "qos0":
                expected.append(packet_id)
            if kind == "refused":
                answers += acknowledgements.refuse(packet_id, ReasonCode.NOT_AUTHORIZED, len(tokens))
            else:
                tokens.append(packet_id if kind == "qos1" else 0)
        acknowledgements.submitted(len(tokens), sum(token != 0 for token in tokens))
        waiting += tokens
        settle(settled)
    settle(len(waiting))
    assert packet_ids(answers) == expected
    assert acknowledgements.unsettled == acknowledgements.unacknowledged == 0
