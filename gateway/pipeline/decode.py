"""Packets into a batch: each payload through its codec, readings into columns, what is wrong into quarantine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np

from devices.errors import QuarantineReason, Rejected
from devices.payloads import Bad, Codec
from devices.payloads.elements import elements
from devices.profiles.model import Profile
from devices.registry.model import Device, FirmwareSeen
from gateway.intake import Packet, Route
from gateway.pipeline.batch import Batch
from gateway.pipeline.clockless import ReceiptTimes
from gateway.pipeline.columns import Columns
from gateway.pipeline.directory import DeviceDirectory
from gateway.pipeline.settings import PipelineSettings
from gateway.pipeline.told import Told, Unreadable, read_acknowledgement, read_status
from gateway.pipeline.validate import Ranges, find_faults
from gateway.store.rows import MAX_TS_US, MIN_TS_US, NO_SEQ, EventRow, QuarantineRow, Readings
from gateway.store.tables import ReadingTables
from gateway.store.times import datetime_of

AUTOMATIC: Final = "automatic"
"""The model of devices that name none, or one without a profile."""

_NO_ROUTE: Final = "no route knows this topic, or its device id is not 1 to 64 of A-Z a-z 0-9 _ -"
_BEYOND: Final = "ts is not from 1970 to 9999"
_Decoded = TypeVar("_Decoded")


@dataclass(slots=True)
class Sources:
    """What decoding looks things up in, and what it remembers from batch to batch."""

    settings: PipelineSettings
    devices: DeviceDirectory
    codecs: Mapping[str, Codec]
    profiles: Mapping[str, Profile]
    tables: ReadingTables
    receipt_times: ReceiptTimes = field(default_factory=ReceiptTimes)
    firmware: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])  # and since when

    def model_of(self, device: Device) -> str:
        """The profile that a device's readings follow."""
        return device.model if device.model is not None and device.model in self.profiles else AUTOMATIC


def decode_batch(
    sources: Sources, packets: Sequence[Packet], now_s: float, refused: Mapping[int, Bad] | None = None
) -> Batch:
    """Decode packets in their order, but those that are `refused` already; never raises for what a device sent."""
    decoding = _Decoding(sources, packets, round((now_s + sources.settings.ingest.far_future) * 1e6))
    for index, packet in enumerate(packets):
        if refused and index in refused:
            decoding.refuse(index, refused[index])
        else:
            decoding.take(index, packet)
    return decoding.finish()


class _Decoding:
    """The work on one batch."""

    def __init__(self, sources: Sources, packets: Sequence[Packet], latest_us: int) -> None:
        self._sources = sources
        self._devices = sources.devices
        self._codecs = sources.codecs
        self._max_payload_bytes = sources.settings.ingest.max_payload_bytes
        self._packets = packets
        self._latest_us = latest_us
        self._columns: dict[str, Columns] = {}  # by profile
        self._columns_by_model: dict[str | None, Columns] = {}  # by what the registry says, which may have no profile
        self._events: list[EventRow] = []
        self._statuses: list[EventRow] = []
        self._refused: list[QuarantineRow] = []
        self._firmware: list[FirmwareSeen] = []
        self._raws = RawElements(packets)
        self._row = 0

    def take(self, index: int, packet: Packet) -> None:
        device, codec = self._devices.get(packet.device_id), self._codecs.get(packet.codec)
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

    def refuse(self, index: int, bad: Bad) -> None:
        self._refuse(index, bad.raw, bad.reason, bad.detail)

    def _refuse_packet(self, index: int, packet: Packet, device: Device | None) -> None:
        if packet.route is Route.UNKNOWN:
            self._refuse(index, packet.payload, QuarantineReason.UNKNOWN_TOPIC, _NO_ROUTE)
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
            ts_us = reading.ts_us
            if ts_us is None:
                ts_us = self._sources.receipt_times.next_us(packet.device_id, received_us)
                columns.received_us.append(ts_us)
            elif MIN_TS_US <= ts_us <= MAX_TS_US:
                columns.received_us.append(received_us + (ts_us == received_us))
            else:
                self._refuse(index, self._raws.raw(index, element), QuarantineReason.UNSTORABLE, _BEYOND)
                continue
            if reading.firmware is not None:
                self._note_firmware(device, reading.firmware, ts_us, received_us)
            columns.put_values(reading.metrics)
            columns.device.append(device_index)
            columns.ts_us.append(ts_us)
            columns.seq.append(NO_SEQ if reading.seq is None else reading.seq)
            columns.packet.append(index)
            columns.element.append(element)
            columns.row.append(self._row)
            self._row += 1

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
        if ts_us is None:
            ts_us = received_us = self._sources.receipt_times.next_us(packet.device_id, received_us)
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
        seq, row = told.seq, self._row
        self._row += 1
        event = EventRow(
            device.tenant_id, packet.device_id, ts_us, told.code, seq, told.data, received_us, index, element, row
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

    def _refuse(self, index: int, raw: bytes, reason: QuarantineReason, detail: str) -> None:
        self._refused.append(self._quarantine_row(index, raw, reason, detail))

    def _quarantine_row(self, index: int, raw: bytes, reason: QuarantineReason, detail: str) -> QuarantineRow:
        return quarantine_row(self._sources, self._packets, index, raw, reason, detail)

    def finish(self) -> Batch:
        parts: list[Readings] = []
        unprofiled = 0
        for model in sorted(self._columns):
            readings = self._validated(model, self._columns[model].finish())
            if len(readings):
                parts.append(readings)
                unprofiled += 0 if model == AUTOMATIC else sum(map(len, readings.extra.values()))
        return Batch(self._packets, parts, self._events, self._statuses, self._refused, self._firmware, unprofiled)

    def _validated(self, model: str, readings: Readings) -> Readings:
        ranges = Ranges.of(readings.table, self._sources.profiles[model])
        faults = find_faults(readings, ranges, self._latest_us)
        if not faults:
            return readings
        keep = np.ones(len(readings), np.bool_)
        for position, reason, detail in faults:
            keep[position] = False
            index, element = int(readings.packet[position]), int(readings.element[position])
            self._refuse(index, self._raws.raw(index, element), reason, detail)
        return readings.take(keep)


def quarantine_row(  # noqa: PLR0917 - where it came from, what it is, and why
    sources: Sources, packets: Sequence[Packet], index: int, raw: bytes, reason: QuarantineReason, detail: str
) -> QuarantineRow:
    """What goes into quarantine for a packet, or for a part of it."""
    packet = packets[index]
    device = sources.devices.get(packet.device_id)
    return QuarantineRow(
        tenant_id=sources.settings.tenant_id if device is None else device.tenant_id,
        device_id=_storable(packet.device_id),
        topic=_storable(packet.topic),
        codec=packet.codec,
        route=int(packet.route),
        reason=reason,
        detail=_storable(detail),
        raw=raw,
        received_us=round(packet.received_s * 1e6),
        packet=index,
    )


def _storable(text: str) -> str:
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


class RawElements:
    """The bytes of single elements of payloads, each payload taken apart at most once."""

    def __init__(self, packets: Sequence[Packet]) -> None:
        self._packets = packets
        self._found: dict[int, list[bytes]] = {}

    def raw(self, index: int, element: int) -> bytes:
        """One element of a packet, where its codec's payloads can be taken apart; else the whole payload."""
        packet = self._packets[index]
        if packet.codec != "json" or packet.route not in {Route.TELEMETRY, Route.EVENTS}:
            return packet.payload
        found = self._found.get(index)
        if found is None:
            try:
                found = [piece.raw for piece in elements(packet.payload)]
            except Rejected:
                found = []
            self._found[index] = found
        return found[element] if len(found) > 1 else packet.payload
