"""What packets are expected to cost, and how that is learnt."""

from gateway.intake import Alike, Bunch, Mixed, Route, Verdict
from gateway.pipeline.costs import Costs, looks_like, work_of
from tests.ingest.rig import Door

DOOR = Door()
BAD = Verdict(quarantined=1)
GOOD = Verdict(stored=1)


def bunch(device_id: str, *payloads: bytes) -> Bunch:
    return Bunch(DOOR, Route.TELEMETRY, device_id, "t", "json", 0.0, [1] * len(payloads), payloads)


def cost(costs: Costs, device_id: str, payload: bytes = b"x") -> float:
    return costs.of(bunch(device_id, payload), 1)[0]


def test_what_is_large_seems_to_hold_as_many_readings_as_it_may() -> None:
    assert looks_like(b"{}") == 1
    assert looks_like(b"[" + b",".join([b'{"metrics":{"n":1}}'] * 100) + b"]") == 100
    assert looks_like(b"[" + b"0," * 5000 + b"0]") == 10_003 // 512
    assert looks_like(bytes(3200)) == 100


def test_nothing_is_known_of_devices_that_are_as_they_should_be() -> None:
    costs = Costs()
    for verdicts in (Alike(GOOD, 2), [GOOD, Verdict(duplicates=1)]):
        costs.learn([bunch("d", b"1", b"2")], verdicts)
    assert not costs.may_be_dear(bunch("d", b"1"), 1)
    assert cost(costs, "d") == 1


def test_a_device_costs_what_its_last_packets_did_and_gets_cheaper_slowly() -> None:
    costs = Costs()
    costs.learn([bunch("d", b"1", b"2"), bunch("other", b"3")], [BAD, GOOD, GOOD])
    dear = cost(costs, "d")
    assert dear > work_of(BAD) / 2
    assert cost(costs, "other") == 1
    assert costs.may_be_dear(bunch("d", b"1"), 1)
    mixed = Mixed(DOOR, Route.TELEMETRY, ["other", "d"], ["t", "t"], "json", 0.0, [1, 2], [b"1", b"2"])
    assert costs.may_be_dear(mixed, 2)
    costs.learn([mixed], Alike(GOOD, 2))
    assert cost(costs, "d") == dear / 2
    for _ in range(10):
        costs.learn([mixed], Alike(GOOD, 2))
    assert not costs.may_be_dear(mixed, 2)


def test_many_small_packets_of_a_device_are_not_a_large_one() -> None:
    costs = Costs()
    costs.learn([bunch("bad", b"1"), bunch("d", b"1", b"2")], [BAD, GOOD, GOOD])
    assert costs.may_be_dear(bunch("bad", b"1"), 1)
    assert not costs.may_be_dear(bunch("d", b"1"), 1)


def test_large_payloads_are_taken_to_be_dear_until_they_are_known() -> None:
    costs, array = Costs(), b"[" + b",".join([b'{"metrics":{"n":1}}'] * 100) + b"]"
    assert costs.may_be_dear(bunch("d", array), len(array))
    assert cost(costs, "d", array) == 400
    costs.learn([bunch("d", array)], [Verdict(stored=100)])
    assert cost(costs, "d", array) == 100
    assert cost(costs, "d") == 1


def test_what_is_known_is_bounded() -> None:
    costs = Costs()
    for number in range(12_000):
        costs.learn([bunch(f"d{number}", b"x")], [BAD])
    assert not costs.may_be_dear(bunch("d0", b"x"), 1)
    assert costs.may_be_dear(bunch("d11999", b"x"), 1)
