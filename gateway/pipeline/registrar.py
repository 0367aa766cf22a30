"""What every numbered transaction ends with: alarms told to the CRM side, and the number itself."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar

import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.inbox import put_alarms
from crm_sync.together import without_waiting
from devices.registry.model import FirmwareSeen
from devices.registry.partings import Why
from gateway.alarms import record_changes
from gateway.cohorts.layer import FleetLayer
from gateway.cohorts.turn import Now
from gateway.detect.model import AlarmChange
from gateway.pipeline.sources import Sources
from gateway.pipeline.written import Written, counters_of, device_counters_of
from gateway.store.ownership import OwnershipLostError, hold_fence
from gateway.store.queries import BatchRow, add_counters, add_device_counters, put_batch
from gateway.store.store import LOST_CONNECTION, Store

Connection = AsyncConnection[TupleRow]
_Found = TypeVar("_Found")
NO_REASONS: Final[Mapping[str, Why]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Registrar:
    """Writes alarm changes and batch numbers down, in the caller's transaction."""

    store: Store
    sources: Sources

    def tenant_of(self, device_id: str) -> str:
        """Whose device it is; one that is not registered is this gateway's own tenant's."""
        device = self.sources.devices.get(device_id)
        return self.sources.settings.tenant_id if device is None else device.tenant_id

    @property
    def fleet(self) -> FleetLayer:
        """What looks at alarms across devices; it keeps everything in the database."""
        settings = self.sources.settings
        return FleetLayer(settings.fleet, settings.tenant_id, self.store.profiles, settings.authority.edge_nodes)

    async def tell(
        self, conn: Connection, changes: Sequence[AlarmChange], recorded_at_s: float, alive_s: float
    ) -> None:
        """Record what happened to alarms, and hand it to the CRM side."""
        tenants = {change.device_id: self.tenant_of(change.device_id) for change in changes}
        await self._tell(conn, changes, tenants, Now(recorded_at_s, alive_s))

    async def tell_firmware(self, conn: Connection, changed: Sequence[FirmwareSeen], now_s: float) -> None:
        """Let new firmware be compared with what ran before."""
        if changed:
            await _guarded(conn, lambda: self.fleet.updated(conn, changed, now_s), None)

    async def look_at_fleet(self, conn: Connection, now: Now) -> bool:
        """See which incidents are over; True if the CRM side was told of something. Raises OwnershipLostError."""
        if not await hold_fence(conn, self.store.fence):
            raise OwnershipLostError
        return await _guarded(conn, lambda: self.fleet.look(conn, now), otherwise=False)

    async def take_back(
        self,
        conn: Connection,
        changes: Sequence[AlarmChange],
        tenants: Mapping[str, str],
        whys: Mapping[str, Why],
        row: BatchRow,
    ) -> None:
        """Record that alarms of devices are taken back that nothing refutes, with the reason for each device."""
        await self._tell(conn, changes, tenants, Now(row.now_s, row.alive_s), whys)

    async def _tell(
        self,
        conn: Connection,
        changes: Sequence[AlarmChange],
        tenants: Mapping[str, str],
        now: Now,
        whys: Mapping[str, Why] = NO_REASONS,
    ) -> None:
        if changes:
            tables = [table.name for table in self.store.tables.all()]
            async with without_waiting(conn):
                recorded = await record_changes(conn, changes, tenants, now.now_s, tables)
            notices = [replace(notice, because=str(whys.get(notice.device_id, ""))) for notice in recorded]
            marked = await _guarded(conn, lambda: self.fleet.take_in(conn, notices, now), notices)
            await put_alarms(conn, marked)

    async def number(self, conn: Connection, row: BatchRow, written: Written | None = None) -> None:
        """Count what was written, and write the transaction's number, in one round trip.

        Raises OwnershipLostError where another gateway has taken over.
        """
        tenant_id = self.sources.settings.tenant_id
        async with without_waiting(conn):
            if written is not None:
                await add_counters(conn, tenant_id, counters_of(written))
                await add_device_counters(conn, tenant_id, device_counters_of(written))
            numbered = await put_batch(conn, tenant_id, self.store.fence, row)
        if numbered.rowcount != 1:
            raise OwnershipLostError


async def _guarded(conn: Connection, work: Callable[[], Awaitable[_Found]], otherwise: _Found) -> _Found:
    """Do the fleet layer's work; should it fail, nothing of it stays, and readings and alarms are stored without it."""
    try:
        async with without_waiting(conn):
            await conn.execute("SAVEPOINT fleet")
            found = await work()
            await conn.execute("RELEASE SAVEPOINT fleet")  # is not worked where something before it has failed
    except LOST_CONNECTION:
        raise
    except Exception:  # noqa: BLE001 - what is told of many devices must not cost the readings of any
        structlog.get_logger().exception("fleet.failed")
        await conn.execute("ROLLBACK TO SAVEPOINT fleet")
        return otherwise
    return found
