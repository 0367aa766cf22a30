"""Firmware changes: which comparisons they begin, and how they move devices from one side to the other."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from devices.registry.model import FirmwareSeen
from gateway.cohorts.comparison import DAY_S, Comparison, Place, Updated
from gateway.cohorts.queries import (
    LOOK_BACK_S,
    Connection,
    DeviceFacts,
    affected_others,
    drop_affected,
    list_firmwares,
    past_problems,
    put_state,
    read_facts,
    read_states,
    take_census,
)
from gateway.cohorts.state import ModelState, decode_model, encode


def state_name(model: str) -> str:
    """Under which name a model's state is kept."""
    return f"model:{model}"


async def take_updates(conn: Connection, seen: Iterable[FirmwareSeen], now_s: float) -> None:
    """Devices have told of a firmware that they did not run just before; `seen` is already written down."""
    told = {row.device_id: row for row in seen}
    by_model: dict[tuple[str, str], list[DeviceFacts]] = {}
    for facts in (await read_facts(conn, told)).values():
        row = told[facts.device_id]
        # What a backlog tells of the past changes nothing of the present.
        if facts.firmware == row.firmware and facts.since_s == row.since.timestamp():
            by_model.setdefault((facts.tenant_id, facts.model), []).append(facts)
    for (tenant_id, model), devices in sorted(by_model.items()):
        state = await _state_of(conn, tenant_id, model, devices)
        await _move(conn, (tenant_id, model), state, devices, now_s)
        await put_state(conn, tenant_id, state_name(model), encode(state))


async def _state_of(conn: Connection, tenant_id: str, model: str, devices: Sequence[DeviceFacts]) -> ModelState:
    """A model's state; at the first look at a model, what its devices run already is not new."""
    states = await read_states(conn, tenant_id, [state_name(model)])
    if states:
        return decode_model(states[tenant_id, state_name(model)])
    updated_to = {each.firmware for each in devices if each.previous is not None}
    known = await list_firmwares(conn, tenant_id, model)
    return ModelState({name: at_s for name, at_s in known.items() if name not in updated_to})


async def _move(
    conn: Connection, cohort: tuple[str, str], state: ModelState, devices: Sequence[DeviceFacts], now_s: float
) -> None:
    begun = await _begin(conn, cohort, state, devices, now_s)
    for comparison in state.comparisons:
        comparison.advance(now_s)
        is_begun = comparison.firmware in begun
        arrived = [each for each in devices if each.firmware == comparison.firmware and each.previous is not None]
        if arrived:
            updates = await _updates(conn, cohort, comparison, arrived)
            comparison.update(updates, counted=is_begun)
        if not is_begun:
            _shift(state, comparison, devices)


async def _begin(
    conn: Connection, cohort: tuple[str, str], state: ModelState, devices: Sequence[DeviceFacts], now_s: float
) -> set[str]:
    """Begin a comparison for each firmware that devices were updated to and that nobody ran before."""
    begun: set[str] = set()
    for firmware, updates in sorted(_updates_to(devices).items()):
        if firmware in state.known:
            continue
        state.known[firmware] = now_s
        if updates:
            newer = [each.firmware for each in state.comparisons]
            new, others = await take_census(conn, *cohort, firmware, newer)
            await drop_affected(conn, *cohort, firmware)
            state.comparisons.append(Comparison.begin(firmware, now_s, new, others))
            begun.add(firmware)
    return begun


def _updates_to(devices: Iterable[DeviceFacts]) -> Mapping[str, int]:
    """How many devices were updated to each firmware that is told of."""
    counts: Counter[str] = Counter()
    for each in devices:
        if each.firmware is not None:
            counts[each.firmware] += each.previous is not None
    return counts


async def _updates(
    conn: Connection, cohort: tuple[str, str], comparison: Comparison, arrived: Sequence[DeviceFacts]
) -> list[Updated]:
    device_ids = [each.device_id for each in arrived]
    affected = await affected_others(conn, *cohort, comparison.firmware, device_ids)
    before = await past_problems(conn, arrived)
    nothing: frozenset[str] = frozenset()
    return [
        Updated(
            place=each.place,
            affected=affected.get(each.device_id, nothing),
            before_days=_known_days(each),
            before=before.get(each.device_id, nothing),
        )
        for each in arrived
    ]


def _known_days(facts: DeviceFacts) -> float:
    known_s = (facts.since_s or 0.0) - (facts.first_s or 0.0)
    return min(max(known_s, 0.0), LOOK_BACK_S) / DAY_S


def _shift(state: ModelState, comparison: Comparison, devices: Iterable[DeviceFacts]) -> None:
    """Move devices that were not updated to the compared firmware."""
    left: list[tuple[Place, bool]] = []
    joined: list[Place] = []
    for each in devices:
        if each.firmware is None or (each.firmware == comparison.firmware and each.previous is not None):
            continue
        is_newer = state.known.get(each.firmware, 0.0) > comparison.since_s
        if each.previous is None:  # heard for the first time
            if each.firmware == comparison.firmware:
                comparison.arrive(each.place)
            elif not is_newer:
                joined.append(each.place)
        elif each.previous == comparison.firmware:
            left.append((each.place, True))
            if not is_newer:  # taken back
                joined.append(each.place)
        elif is_newer:
            left.append((each.place, False))
    comparison.leave(left)
    comparison.join(joined)
