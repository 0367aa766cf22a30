"""Packets into a batch: each payload through its codec, readings into columns, what is wrong into quarantine."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Final, TypeVar

import numpy as np

from devices.errors import QuarantineReason
from devices.payloads import Bad, Codec
from devices.payloads.columnar import ABSENT
from devices.registry.model import Device, FirmwareSeen
from gateway.intake import Bunch, Mixed, Packet, Piece, Route, Wrapped
from gateway.pipeline.batch import Batch
from gateway.pipeline.clockless import BatchTimes, from_us_of
from gateway.pipeline.columns import Columns, Part
from gateway.pipeline.packets import Packets, one_of, unmixed
from gateway.pipeline.refusals import RawElements, quarantine_row
from gateway.pipeline.sources import AUTOMATIC, Sources
from gateway.pipeline.together import Together
from gateway.pipeline.told import Told, Unreadable, read_acknowledgement, read_status
from gateway.pipeline.validate import Ranges, find_faults
from gateway.store.rows import MAX_TS_US, MIN_TS_US, NO_SEQ, EventRow, Longs, QuarantineRow, Readings
from gateway.store.times import datetime_of

_RETAINED: Final = "retained by the broker, and without a ts: nobody knows of when it is"
_BEYOND: Final = "ts is not from 1970 to 9999"
_Decoded = TypeVar("_Decoded")
_Seat = tuple[Together | None, int]
_by_packet = attrgetter("packet")


def decode_batch(
    sources: Sources, pieces: Sequence[Piece], now_s: float, refused: Mapping[int, Bad] | None = None
) -> Batch:
    """Decode packets in their order; never raises for what a device sent.

    `refused` says of packets, by their number, why they are not to be decoded.
    """
    packets = Packets(pieces)
    decoding = _Decoding(sources, packets, round((now_s + sources.settings.ingest.far_future) * 1e6), refused or {})
    for start, piece in zip(packets.starts, pieces, strict=False):
        if isinstance(piece.origin, Wrapped):
            decoding.times.take(range(start, start + len(piece.tokens)), piece.origin)
        if isinstance(piece, Mixed):
            decoding.take_mixed(start, piece)
        else:
            decoding.take(start, piece)
    return decoding.finish()


class _Seats(dict[str, _Seat]):
    """Of the devices of a batch, where their payloads go; found out once for each: in a large fleet, once a packet."""

    def __init__(self, sources: Sources, together_of: Callable[[Device], Together | None]) -> None:
        super().__init__()
        self._find = sources.devices.get
        self._is_apart = sources.decoders.is_apart
        self._together_of = together_of
        self._by_model: dict[str | None, tuple[Together | None, dict[str, int]]] = {}  # with the indices given so far

    def __missing__(self, device_id: str) -> _Seat:
        """With whose payloads those of a device are decoded, and its index there; None: by themselves."""
        seat: _Seat = (None, -1)
        device = self._find(device_id)
        if device is not None and not self._is_apart(device_id):
            try:
                together, index_of = self._by_model[device.model]
            except KeyError:
                together, index_of = self._begin(device)
            if together is not None:
                seat = together, index_of.setdefault(device_id, len(index_of))
        self[device_id] = seat
        return seat

    def _begin(self, device: Device) -> tuple[Together | None, dict[str, int]]:
        together = self._together_of(device)
        found = self._by_model[device.model] = (together, {} if together is None else together.columns.index_of)
        return found


class _Decoding:
    """The work on one batch.

    Telemetry is decoded together where its codec can, at the end; everything else at once, packet by packet. The end
    brings all of it into the order of arrival, so that nothing depends on which way a payload took.
    """

    def __init__(self, sources: Sources, packets: Packets, latest_us: int, undecodable: Mapping[int, Bad]) -> None:
        self._sources = sources
        self._devices = sources.devices
        self._codecs = sources.codecs
        self._max_payload_bytes = sources.settings.ingest.max_payload_bytes
        self._packets = packets
        self._latest_us = latest_us
        self._undecodable = undecodable
        self._columns: dict[str, Columns] = {}  # by profile
        self._columns_by_model: dict[str | None, Columns] = {}  # by what the registry says, which may have no profile
        self._together: dict[tuple[str, str | None], Together | None] = {}  # by codec and model; None: it is not done
        self._seats: dict[str, _Seats] = {}  # by codec
        self._events: list[EventRow] = []
        self._statuses: list[EventRow] = []
        self._refused: list[QuarantineRow] = []
        self._firmware: list[FirmwareSeen] = []
        self._raws = RawElements(packets)
        self.times = BatchTimes(sources.receipt_times)

    def take(self, start: int, bunch: Bunch) -> None:
        """Take a bunch, whose first packet has the number `start`."""
        device = self._devices.get(bunch.device_id)
        if device is not None and bunch.route is Route.TELEMETRY and self._take_together(start, bunch, device):
            return
        for index in range(start, start + len(bunch.tokens)):
            bad = self._undecodable.get(index)
            if bad is None:
                self._take_packet(index, self._packets[index], device)
            else:
                self._refuse(index, bad.raw, bad.reason, bad.detail)

    def take_mixed(self, start: int, mixed: Mixed) -> None:
        """Take packets of several devices, the first with the number `start`."""
        if mixed.route is not Route.TELEMETRY or self._undecodable:
            for bunch in unmixed(mixed):
                self.take(start, bunch)
                start += len(bunch.tokens)
            return
        seats = self._seats.get(mixed.codec)
        if seats is None:
            seats = self._seats[mixed.codec] = _Seats(self._sources, partial(self._together_of, mixed.codec))
        togethers, devices = zip(*map(seats.__getitem__, mixed.device_ids), strict=True)
        its_together = togethers[0]
        if (
            its_together is not None
            and togethers.count(its_together) == len(togethers)
            and max(map(len, mixed.payloads)) <= self._max_payload_bytes
        ):
            its_together.add_mixed(start, mixed, devices)
        else:
            self._take_divided(start, mixed, togethers, devices)

    def _take_divided(
        self, start: int, mixed: Mixed, togethers: Sequence[Together | None], devices: Sequence[int]
    ) -> None:
        """Take packets that are not all to be decoded together."""
        places_of: dict[Together, list[int]] = {}
        for place, (together, payload) in enumerate(zip(togethers, mixed.payloads, strict=True)):
            if together is not None and len(payload) <= self._max_payload_bytes:
                places_of.setdefault(together, []).append(place)
            else:
                self.take(start + place, one_of(mixed, place))
        for together, places in places_of.items():
            together.add_some(start, mixed, places, devices)

    def _together_of(self, codec: str, device: Device) -> Together | None:
        key = (codec, device.model)
        try:
            return self._together[key]
        except KeyError:
            together = self._together[key] = self._begin_together(codec, device)
            return together

    def _take_together(self, start: int, bunch: Bunch, device: Device) -> bool:
        """Put a bunch aside to be decoded with others; False where its packets have to be looked at one by one."""
        together = self._together_of(bunch.codec, device)
        payloads = bunch.payloads
        largest = len(payloads[0]) if len(payloads) == 1 else max(map(len, payloads))
        if (
            together is None
            or largest > self._max_payload_bytes
            or not self._sources.decoders.fits(bunch.device_id)
            or (self._undecodable and not self._undecodable.keys().isdisjoint(range(start, start + len(payloads))))
        ):
            return False
        together.add(start, bunch)
        return True

    def _begin_together(self, codec: str, device: Device) -> Together | None:
        columns = self._columns_of(device)
        decoder = self._sources.decoders.find(codec, columns.table)
        return None if decoder is None else Together(decoder, columns)

    def _take_packet(self, index: int, packet: Packet, device: Device | None) -> None:
        codec = self._codecs.get(packet.codec)
        if device is None or packet.route is Route.UNKNOWN or len(packet.payload) > self._max_payload_bytes:
            self._refuse_packet(index, packet, device)
        elif packet.route is Route.STATUS:
            self._take_told(index, packet, device, read_status(packet.payload), self._statuses)
        elif packet.route is Route.COMMAND_ACK:
            self._take_told(index, packet, device, read_acknowledgement(packet.topic, packet.payload), self._events)
        elif codec is None:
            self._refuse(index, packet.payload, QuarantineReason.MALFORMED, f"no codec is named {packet.codec!r}")
        elif packet.route is Route.TELEMETRY:
            self._take_readings(index, packet, device, codec)
        else:
            self._take_events(index, packet, device, codec)

    def _refuse_packet(self, index: int, packet: Packet, device: Device | None) -> None:
        if packet.route is Route.UNKNOWN:
            why = self._sources.settings.why_unknown(packet.topic)
            self._refuse(index, packet.payload, QuarantineReason.UNKNOWN_TOPIC, why)
        elif device is None:
            self._refuse(index, packet.payload, QuarantineReason.UNKNOWN_DEVICE, "this device is not registered")
        else:
            detail = f"{len(packet.payload)} bytes; at most {self._max_payload_bytes} are allowed"
            self._refuse(index, packet.payload, QuarantineReason.OVERSIZED, detail)

    def _take_readings(self, index: int, packet: Packet, device: Device, codec: Codec) -> None:
        columns = self._columns_of(device)
        device_index = columns.index_of.setdefault(packet.device_id, len(columns.index_of))
        received_us = round(packet.received_s * 1e6)
        for element, reading in enumerate(self._guarded(codec.decode_readings, packet.payload)):
            if isinstance(reading, Bad):
                self._refuse(index, reading.raw, reading.reason, reading.detail)
                continue
            if reading.ts_us is not None and not MIN_TS_US <= reading.ts_us <= MAX_TS_US:
                self._refuse(index, self._raws.raw(index, element), QuarantineReason.UNSTORABLE, _BEYOND)
                continue
            if reading.firmware is not None:
                columns.firmware[len(columns.ts_us)] = reading.firmware
            columns.put_values(reading.metrics)
            columns.device.append(device_index)
            columns.ts_us.append(ABSENT if reading.ts_us is None else reading.ts_us)
            columns.received_us.append(received_us)
            columns.seq.append(NO_SEQ if reading.seq is None else reading.seq)
            columns.packet.append(index)
            columns.element.append(element)

    def _guarded(self, decode: Callable[[bytes], Sequence[_Decoded | Bad]], payload: bytes) -> Sequence[_Decoded | Bad]:
        """What a codec makes of a payload; one that breaks its promise never to raise costs that payload only."""
        try:
            return decode(payload)
        except Exception as error:  # noqa: BLE001 - codecs are plug-ins, and a packet must not stop the pipeline
            return [Bad(payload, QuarantineReason.MALFORMED, f"the codec failed: {type(error).__name__}")]

    def _columns_of(self, device: Device) -> Columns:
        columns = self._columns_by_model.get(device.model)
        if columns is None:
            model = self._sources.model_of(device)
            columns = self._columns.get(model)
            if columns is None:
                columns = self._columns[model] = Columns(self._sources.tables[model])
            self._columns_by_model[device.model] = columns
        return columns

    def _take_events(self, index: int, packet: Packet, device: Device, codec: Codec) -> None:
        for element, event in enumerate(self._guarded(codec.decode_events, packet.payload)):
            if isinstance(event, Bad):
                self._refuse(index, event.raw, event.reason, event.detail)
            else:
                data = None if event.data is None else event.data.decode(errors="replace")
                self._take_told(
                    index, packet, device, Told(event.ts_us, event.seq, event.code, data), self._events, element
                )

    def _take_told(  # noqa: PLR0917 - what is told, by whom, where it stood, where it goes
        self,
        index: int,
        packet: Packet,
        device: Device,
        told: Told | Unreadable,
        into: list[EventRow],
        element: int = 0,
    ) -> None:
        if isinstance(told, Unreadable):
            self._refuse(index, packet.payload, told.reason, told.detail)
            return
        received_us = round(packet.received_s * 1e6)
        ts_us = told.ts_us
        if ts_us is None and index in self.times.kept and packet.route is Route.EVENTS:
            raw = self._raws.raw(index, element)
            self._refuse(index, raw, QuarantineReason.BAD_TIMESTAMP, _RETAINED)
            return
        if ts_us is None:
            ts_us = received_us = self.times.next_us(index, packet.device_id, received_us, is_event=True)
        elif not MIN_TS_US <= ts_us <= min(self._latest_us, MAX_TS_US):
            self._refuse(
                index,
                self._raws.raw(index, element),
                QuarantineReason.FAR_FUTURE if MIN_TS_US <= ts_us <= MAX_TS_US else QuarantineReason.UNSTORABLE,
                "ts is beyond what is allowed",
            )
            return
        else:
            received_us += ts_us == received_us
        event = EventRow(
            device.tenant_id, packet.device_id, ts_us, told.code, told.seq, told.data, received_us, index, element, -1
        )
        into.append(event)

    def _note_firmware(self, device: Device, firmware: str, ts_us: int, received_us: int) -> None:
        """Note a firmware that differs from the newest one known; the registry decides whether it is a change."""
        known, since_us = self._sources.firmware.get(device.device_id, ("", -1))
        if firmware == known or not MIN_TS_US <= ts_us <= min(self._latest_us, MAX_TS_US):
            return
        if ts_us >= since_us:
            self._sources.firmware[device.device_id] = (firmware, ts_us)
        self._firmware.append(
            FirmwareSeen(device.tenant_id, device.device_id, firmware, datetime_of(ts_us), datetime_of(received_us))
        )

    def _refuse(
        self, index: int, raw: bytes, reason: QuarantineReason, detail: str, from_us: int | None = None
    ) -> None:
        row = quarantine_row(self._sources, self._packets, index, raw, reason, detail)
        self._refused.append(row if from_us is None else replace(row, counted_from_us=from_us))

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> Batch:
        """Decode what was put aside, and bring everything into the order of arrival."""
        for (codec, _), together in self._together.items():
            if together is not None:
                self._decode_together(self._codecs[codec], together)
        self._refused.sort(key=_by_packet)
        whole = {model: self._timed(self._columns[model]) for model in sorted(self._columns)}
        first_rows = self._first_rows(whole.values())
        parts: list[Readings] = []
        unprofiled = 0
        for model, arrived in whole.items():
            row = (first_rows[arrived.packet] + arrived.element).astype(np.int32)
            readings = self._validated(model, replace(arrived, row=row))
            if len(readings):
                parts.append(readings)
                unprofiled += 0 if model == AUTOMATIC else sum(map(len, readings.extra.values()))
        events, statuses = (
            [replace(told, row=int(first_rows[told.packet]) + told.element) for told in rows]
            for rows in (self._events, self._statuses)
        )
        return Batch(self._packets, parts, events, statuses, self._refused, self._firmware, unprofiled)

    def _decode_together(self, codec: Codec, together: Together) -> None:
        device, received_us, packet = together.of_payloads()
        found = together.decode()
        if found is not None:
            together.columns.parts.append(Part.of(found, device, received_us, packet))
        for payload in range(len(packet)) if found is None else found.left:
            index = int(packet[payload])
            its_packet = self._packets[index]
            known = self._devices.get(its_packet.device_id)
            assert known is not None, "a packet of an unknown device was put aside"
            self._sources.decoders.keep_apart(its_packet.device_id)
            self._take_readings(index, its_packet, known, codec)

    def _timed(self, columns: Columns) -> Readings:
        """The readings of a product model in the order of arrival, each with a time; notes the firmware they tell.

        `ts_us` and `received_us` are equal exactly where the device gave no time.
        """
        readings, firmware = columns.finish()
        ts_us, received_us = readings.ts_us, readings.received_us
        clockless = np.flatnonzero(ts_us == ABSENT).tolist()
        received_us = received_us + (ts_us == received_us)
        keep = np.ones(len(ts_us), np.bool_)
        if clockless:
            ts_us = ts_us.copy()
            for position in clockless:
                index = int(readings.packet[position])
                if index in self.times.kept:
                    keep[position] = False
                    raw = self._raws.raw(index, int(readings.element[position]))
                    self._refuse(index, raw, QuarantineReason.BAD_TIMESTAMP, _RETAINED)
                    continue
                ts_us[position] = received_us[position] = self.times.next_us(
                    index, readings.device_id(position), int(received_us[position]), is_event=False
                )
        for position, told in firmware.items():
            device_id = readings.device_id(position)
            known = self._sources.firmware.get(device_id)
            device = self._devices.get(device_id) if known is None or known[0] != told else None
            if device is not None:
                self._note_firmware(device, told, int(ts_us[position]), int(readings.received_us[position]))
        timed = replace(readings, ts_us=ts_us, received_us=received_us)
        return timed if keep.all() else timed.take(keep)

    def _first_rows(self, whole: Iterable[Readings]) -> Longs:
        """The arrival position of each packet's first element, int64[packets]: a place for every element told."""
        sizes = np.ones(len(self._packets), np.int64)
        for packet, element in [
            *((readings.packet, readings.element) for readings in whole),
            *(([event.packet], np.array([event.element])) for event in self._events if event.element),
        ]:
            if element.any():
                np.maximum.at(sizes, packet, element + 1)
        return np.cumsum(sizes) - sizes

    def _validated(self, model: str, readings: Readings) -> Readings:
        ranges = Ranges.of(readings.table, self._sources.profiles[model])
        faults = find_faults(readings, ranges, self._latest_us)
        if not faults:
            return readings
        keep = np.ones(len(readings), np.bool_)
        for position, reason, detail in faults:
            keep[position] = False
            index, element = int(readings.packet[position]), int(readings.element[position])
            raw = self._raws.raw(index, element)
            from_us = from_us_of(readings, position, is_whole=raw == self._packets[index].payload)
            self._refuse(index, raw, reason, detail, from_us)
        return readings.take(keep)
