"""What every numbered transaction ends with: alarms told to the CRM side, and the number itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.inbox import put_alarms
from gateway.alarms import record_changes
from gateway.detect.model import AlarmChange
from gateway.pipeline.decode import Sources
from gateway.pipeline.departed import list_left
from gateway.store.ownership import OwnershipLostError, hold_fence
from gateway.store.queries import BatchRow, put_batch
from gateway.store.store import Store

Connection = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Registrar:
    """Writes alarm changes and batch numbers down, in the caller's transaction."""

    store: Store
    sources: Sources

    def tenant_of(self, device_id: str) -> str:
        """Whose device it is; one that is not registered is this gateway's own tenant's."""
        device = self.sources.devices.get(device_id)
        return self.sources.settings.tenant_id if device is None else device.tenant_id

    async def tell(self, conn: Connection, changes: Sequence[AlarmChange], recorded_at_s: float) -> None:
        """Record what happened to alarms, and hand it to the CRM side."""
        tenants = {change.device_id: self.tenant_of(change.device_id) for change in changes}
        await self._tell(conn, changes, tenants, recorded_at_s)

    async def take_back_left(self, conn: Connection, recorded_at_s: float) -> Sequence[AlarmChange]:
        """End the open alarms of devices that were removed; gives what was told of them."""
        changes, tenants = await list_left(conn)
        if changes and not await hold_fence(conn, self.store.fence):
            raise OwnershipLostError
        await self._tell(conn, changes, tenants, recorded_at_s)
        return changes

    async def _tell(
        self, conn: Connection, changes: Sequence[AlarmChange], tenants: Mapping[str, str], recorded_at_s: float
    ) -> None:
        if changes:
            tables = [table.name for table in self.store.tables.all()]
            await put_alarms(conn, await record_changes(conn, changes, tenants, recorded_at_s, tables))

    async def number(self, conn: Connection, row: BatchRow) -> None:
        """Write the transaction's number. Raises OwnershipLostError where another gateway has taken over."""
        if not await put_batch(conn, self.sources.settings.tenant_id, self.store.fence, row):
            raise OwnershipLostError
