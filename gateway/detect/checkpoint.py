"""Detector state of one partition as bytes, and back.

Every array carries its name, type and shape; every series carries the model, watch and metric that it belongs to, and
every detector its version. A profile that has changed since takes up what still answers to the same names; alarms that
are up outlive a new version of their detector. Its own state does where it says what becomes of the old fields
(`MigratingDetector`), and else begins anew.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.detect.arrays import Indices
from gateway.detect.cohort import NOBODY
from gateway.detect.detector import MigratingDetector
from gateway.detect.episodes import EPISODE_FIELDS
from gateway.detect.fleet import Fleet
from gateway.detect.groups import OWNER
from gateway.detect.station import OWNER_FIELDS, Station
from gateway.detect.table import Numeric

FORMAT: Final = 1
_OWN: Final = frozenset(field.name for field in EPISODE_FIELDS)
_OWNER: Final = frozenset(field.name for field in OWNER_FIELDS)


class SavedArray(msgspec.Struct, frozen=True, array_like=True):
    """One field of all saved series."""

    name: str
    dtype: str
    lanes: int  # 0 for a scalar
    data: bytes


class SavedWatch(msgspec.Struct, frozen=True, array_like=True):
    """Whose series these are."""

    model: str
    watch: str
    metric: str | None


class SavedStation(msgspec.Struct, frozen=True, array_like=True):
    """All series of one detector."""

    detector: str
    version: int
    watches: list[SavedWatch]
    device: bytes  # int32 per series, into the devices
    watch: bytes  # int32 per series, into the watches
    arrays: list[SavedArray]


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """A partition."""

    format: int
    engine: int
    devices: list[str]
    models: list[str]  # per device
    stations: list[SavedStation]
    first_s: bytes = b""  # float64 per device, NaN for none; empty in states of earlier versions
    priors: bytes = b""  # int64 per device: what was known beforehand at its birth; empty in states of earlier versions


def save_state(stations: Mapping[str, Station], fleet: Fleet, partition: int, engine: int) -> bytes:
    """The state of all devices of a partition that anything was judged of."""
    chosen = _told(stations, fleet, fleet.members(partition))
    owners = [station.table.column("device")[chosen[name]] for name, station in stations.items()]
    members = fleet.members(partition)
    owners.append(members[np.isfinite(fleet.first_s(members))].astype(np.int32))
    return _save(stations, fleet, np.unique(np.concatenate([np.empty(0, np.int32), *owners])), chosen, engine)


def save_device(stations: Mapping[str, Station], fleet: Fleet, device: int, engine: int) -> bytes:
    """The state of one device, in the same form."""
    devices = np.array([device], np.int32)
    return _save(stations, fleet, devices, _told(stations, fleet, devices.astype(np.int64)), engine)


def _told(stations: Mapping[str, Station], fleet: Fleet, devices: Indices) -> dict[str, Indices]:
    """The devices' slots per detector; one that nothing was judged in has nothing to tell."""
    return {
        name: slots[np.isfinite(stations[name].table.column("newest_s")[slots])]
        for name, slots in fleet.slots_among(devices).items()
    }


def _save(
    stations: Mapping[str, Station],
    fleet: Fleet,
    devices: npt.NDArray[np.int32],
    chosen: Mapping[str, Indices],
    engine: int,
) -> bytes:
    numbers: list[int] = devices.tolist()
    rosters: list[int] = fleet.roster_of[devices].tolist()
    models = [roster.profile.model for roster in fleet.rosters]
    return msgspec.msgpack.encode(
        SavedState(
            format=FORMAT,
            engine=engine,
            devices=[fleet.ids[number] for number in numbers],
            models=[models[roster] for roster in rosters],
            stations=[_save_station(station, chosen[name], devices) for name, station in stations.items()],
            first_s=fleet.first_s(devices.astype(np.int64)).tobytes(),
            priors=fleet.prior_of[devices].tobytes(),
        )
    )


def _save_station(station: Station, index: Indices, devices: npt.NDArray[np.int32]) -> SavedStation:
    saved = station.table.copy(index)
    return SavedStation(
        detector=station.name,
        version=station.detector.version,
        watches=[SavedWatch(binding.model, binding.watch, binding.metric) for binding in station.bindings],
        device=np.searchsorted(devices, saved["device"]).astype(np.int32).tobytes(),
        watch=saved["watch"].astype(np.int32).tobytes(),
        arrays=[
            SavedArray(name, field.dtype, field.lanes, saved[name].tobytes())
            for name, field in station.table.fields.items()
            if name not in _OWNER
        ],
    )


def load_state(stations: Mapping[str, Station], fleet: Fleet, profiles: Mapping[str, Profile], state: bytes) -> None:
    """Take up what still has a place; a state of another format is left alone, and everything is learnt anew."""
    saved = msgspec.msgpack.decode(state, type=SavedState)
    if saved.format == FORMAT:
        _load(stations, fleet, profiles, saved)


def load_device(
    stations: Mapping[str, Station], fleet: Fleet, profiles: Mapping[str, Profile], device_id: str, state: bytes
) -> None:
    """Replace all that is known of a device by what `save_device` gave; undone with the turn."""
    saved = msgspec.msgpack.decode(state, type=SavedState)
    if saved.format != FORMAT or len(saved.devices) != 1:
        raise ValueError("not the state of one device, or of another format")
    for station, slots in fleet.slots_of(int(fleet.enrol([device_id])[0])):
        station.table.rows(slots).clear(keep=[OWNER])
        station.deadlines.forget_all()
    _load(stations, fleet, profiles, msgspec.structs.replace(saved, devices=[device_id]))


def _load(stations: Mapping[str, Station], fleet: Fleet, profiles: Mapping[str, Profile], saved: SavedState) -> None:
    numbers = np.full(len(saved.devices), -1, np.int64)
    models = np.array(saved.models, dtype=object)
    for model in dict.fromkeys(saved.models):
        profile = profiles.get(model)
        if profile is None and model == AUTOMATIC.model:
            profile = AUTOMATIC
        if profile is not None:
            mine = np.flatnonzero(models == model)
            numbers[mine] = fleet.admit(fleet.roster(profile), [saved.devices[i] for i in mine])
    _meet(stations, fleet, numbers, saved)
    for kept in saved.stations:
        station = stations.get(kept.detector)
        if station is not None:
            _load_station(station, fleet, numbers, kept)


def _meet(stations: Mapping[str, Station], fleet: Fleet, numbers: Indices, saved: SavedState) -> None:
    """Take up when the devices were first heard; earlier versions kept it with every series of events."""
    first_s = np.frombuffer(saved.first_s) if saved.first_s else np.full(len(numbers), np.nan)
    if not saved.first_s:
        for kept in saved.stations:
            station = stations.get(kept.detector)
            if station is not None and station.counts_events:
                its = {array.name: _values(array) for array in kept.arrays}
                np.fmin.at(first_s, np.frombuffer(kept.device, np.int32), its["first_s"])
    known = np.flatnonzero(numbers >= 0)
    fleet.set_first_s(numbers[known], first_s[known])
    priors = np.frombuffer(saved.priors, np.int64) if saved.priors else np.full(len(numbers), NOBODY)
    fleet.prior_of[numbers[known]] = priors[known]


def _load_station(station: Station, fleet: Fleet, numbers: Indices, kept: SavedStation) -> None:
    device = numbers[np.frombuffer(kept.device, np.int32)]
    watch = np.frombuffer(kept.watch, np.int32)
    if station.counts_events:  # earlier versions had series that wait for their first event
        seen = next((_values(array) for array in kept.arrays if array.name == "seen"), np.ones(len(device)))
        device = np.where(seen > 0, device, -1)
    for number, saved in enumerate(kept.watches):
        mine = np.flatnonzero((watch == number) & (device >= 0))
        if not len(mine):
            continue
        roster = fleet.rosters[fleet.roster_of[device[mine[0]]]]
        found = roster.column_of(station, saved.watch, saved.metric) if roster.profile.model == saved.model else None
        if found is not None:
            _fill(station, roster.uncover(station, fleet.seats_of(device[mine]), found), mine, kept)


def _fill(station: Station, slots: Indices, mine: Indices, kept: SavedStation) -> None:
    state = station.table.rows(slots)
    for name, values in _taken(station, mine, kept).items():
        field = station.table.fields.get(name)
        if field is None or values.shape[1:] != ((field.lanes,) if field.lanes else ()):
            continue
        if field.lanes:
            state.set_vector(name, values)
        else:
            state[name] = values
    state.flush()


def _taken(station: Station, mine: Indices, kept: SavedStation) -> Mapping[str, Numeric]:
    """What is taken up of saved series: all fields of this version, of another what the detector makes of them."""
    saved = {array.name: _values(array)[mine] for array in kept.arrays}
    if kept.version == station.detector.version:
        return saved
    alarms = {name: values for name, values in saved.items() if name in _OWN}
    if not isinstance(station.detector, MigratingDetector):
        return alarms
    return {**(station.detector.migrate(kept.version, saved) or {}), **alarms}


def _values(array: SavedArray) -> Numeric:
    values = np.frombuffer(array.data, array.dtype)
    return values.reshape(-1, array.lanes) if array.lanes else values
