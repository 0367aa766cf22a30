"""Which watches of a product judge what: its watches in columns, and those of one station together as a lane."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from devices.errors import ConfigError, Fault
from devices.profiles.model import EVENT_SERIES, EVERY_EVENT, Profile, Watch
from gateway.detect.arrays import Indices
from gateway.detect.detector import code_of
from gateway.detect.generic import DEVICE_WATCHES, ROW_WATCH, event_watches, habits_beside, metric_watches, row_watch
from gateway.detect.native.compiled import Arrived, LaneLoop, LoopsTogether, NoteHidden, Stop
from gateway.detect.settings import DetectSettings
from gateway.detect.station import Station

LAYOUTS_KEPT: Final = 256
ALL_CODES: Final = EVERY_EVENT.removeprefix(EVENT_SERIES)


@dataclass(frozen=True, slots=True)
class Lane:
    """The watches of one station that apply to readings with certain metrics."""

    station: Station
    columns: Indices  # in the roster's matrix
    watches: Indices  # numbers at the station
    metrics: Indices  # columns of the readings' values; -1 where a device is watched, which comes last
    parts: Indices  # columns in the roster's matrix of all series of the station, whatever the readings' metrics
    codes: Indices  # `code_of` the metrics of all these series
    loop: LaneLoop | None  # None where only the detector itself can judge


@dataclass(frozen=True, slots=True)
class EventLane:
    """The watches of one station that count events."""

    lane: Lane
    codes: tuple[str, ...]  # of each watch


class Layout:
    """What applies to readings with certain metrics."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.in_order = [lane for lane in lanes if lane.loop is not None]
        self.in_waves = [lane for lane in lanes if lane.loop is None]
        loops = [lane.loop for lane in self.in_order if lane.loop is not None]
        self._loops = LoopsTogether(loops) if loops else None

    def go(self, arrived: Arrived, slots: npt.NDArray[np.int32], note_hidden: NoteHidden) -> Iterator[tuple[int, Stop]]:
        """Judge readings by all compiled loops; told are the lane, by its place in `in_order`, and its stop."""
        return iter(()) if self._loops is None else self._loops.go(arrived, slots, None, note_hidden)


class WatchColumns:
    """The watches of one profile, a column each; an automatic profile's become more as metrics and codes are met."""

    def __init__(self, profile: Profile, stations: Mapping[str, Station], settings: DetectSettings) -> None:
        self.profile = profile
        self.watches: list[tuple[Watch, Station, int]] = []  # per column: the watch, its station and its number there
        self.deadline_lanes: tuple[Lane, ...] = ()
        self._stations = stations
        self._settings = settings
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._metrics: set[str] = set()
        self._codes: set[str] = set()
        self._event_lanes: tuple[EventLane, ...] | None = None
        for watch in DEVICE_WATCHES if profile.automatic else (*profile.watches, *habits_beside(profile.watches)):
            self._add(watch)
        if profile.automatic and settings.whole_rows:
            self._add(ROW_WATCH)
        self.deadline_lanes = self._lanes(lambda station: station.deadline is not None, {})

    def _add(self, watch: Watch) -> None:
        station = self._stations.get(watch.detector)
        if station is None:
            where = f"profile {self.profile.model}: watch {watch.name}: detector"
            raise ConfigError([Fault(where, repr(watch.detector), f"one of {', '.join(sorted(self._stations))}")])
        self.watches.append((watch, station, station.bind(self.profile, watch, self._settings)))
        self._event_lanes = None

    def layout(self, metrics: tuple[str, ...]) -> Layout:
        """What applies to readings with these metrics."""
        found = self._layouts.get(metrics)
        if found is None:
            if self.profile.automatic:
                self._learn(metrics)
            if len(self._layouts) >= LAYOUTS_KEPT:
                self._layouts.clear()
            where = {metric: column for column, metric in enumerate(metrics)}
            series = self._lanes(lambda station: station.series is not None, where)
            found = self._layouts[metrics] = Layout((*self.deadline_lanes, *series))
        return found

    def _learn(self, metrics: Sequence[str]) -> None:
        for metric in metrics:
            if metric not in self._metrics and len(self._metrics) < self._settings.metrics_in_all:
                self._metrics.add(metric)
                self._layouts.clear()  # a lane knows all series of its devices
                for watch in metric_watches(metric):
                    self._add(watch)
                if self._settings.whole_rows:
                    self._add(row_watch(metric))

    def event_lanes(self, codes: Sequence[str] = ()) -> tuple[EventLane, ...]:
        """What counts events, per station; codes that are new are learnt where the profile is automatic."""
        if self.profile.automatic:
            self._learn_codes(codes)
        if self._event_lanes is None:
            self._event_lanes = tuple(self._lanes_of_events())
        return self._event_lanes

    def _learn_codes(self, codes: Sequence[str]) -> None:
        for code in codes:
            if code not in self._codes and len(self._codes) < self._settings.events_in_all:
                self._codes.add(code)
                self._layouts.clear()
                for watch in event_watches(code):
                    self._add(watch)

    def _lanes_of_events(self) -> Iterator[EventLane]:
        for station in self._stations.values():
            mine = [
                (column, number, watch.event)
                for column, (watch, at, number) in enumerate(self.watches)
                if at is station and watch.event is not None
            ]
            # By code, so that the order in which codes were first heard of does not matter.
            mine.sort(key=lambda watched: watched[2])
            if mine:
                columns, numbers, codes = zip(*mine, strict=True)
                places = np.arange(len(mine), dtype=np.int64)
                lane = Lane(station, np.array(columns), np.array(numbers), places, *self._parts(station), None)
                yield EventLane(lane, codes)

    def _lanes(self, chosen: Callable[[Station], bool], where: Mapping[str, int]) -> tuple[Lane, ...]:
        lanes: list[Lane] = []
        for station in self._stations.values():
            mine = [
                (column, number, where.get(watch.metric or "", -1))
                for column, (watch, at, number) in enumerate(self.watches)
                if at is station and chosen(at) and (watch.series is None or watch.metric in where)
            ]
            # By name, so that the order in which metrics were first heard of does not matter.
            mine.sort(key=lambda watched: (watched[2] < 0, self.watches[watched[0]][0].metric or ""))
            if mine and (station.series is None or mine[0][2] >= 0):
                columns, numbers, where_told = np.array(mine, np.int64).T
                parts, codes = self._parts(station)
                loop = station.loop((columns, numbers, where_told, parts, codes), self._settings)
                lanes.append(Lane(station, columns, numbers, where_told, parts, codes, loop))
        return tuple(lanes)

    def _parts(self, station: Station) -> tuple[Indices, Indices]:
        watches = [(column, watch.series) for column, (watch, at, _) in enumerate(self.watches) if at is station]
        columns = np.array([column for column, metric in watches if metric], np.int64)
        return columns, np.array([code_of(metric) for _, metric in watches if metric], np.int64)

    def column_of(self, station: Station, watch: str, metric: str | None) -> tuple[int, int] | None:
        """Column and number at the station of a watch by name, made where the profile is automatic."""
        if metric is not None and self.profile.automatic:
            if station.counts_events and metric.startswith(EVENT_SERIES):
                self._learn_codes([metric.removeprefix(EVENT_SERIES)] if metric != EVERY_EVENT else [])
            else:
                self._learn([metric])
        for column, (known, at, number) in enumerate(self.watches):
            if at is station and known.name == watch and known.series == metric:
                return column, number
        return None
