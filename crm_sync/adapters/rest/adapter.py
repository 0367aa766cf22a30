"""A helpdesk that a TOML file describes, as the delivery engine sees it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from crm_sync.adapters.contract import Capabilities, Delivery, Health, Outcome, Result
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.examine import examine
from crm_sync.adapters.rest.spec import read_spec
from crm_sync.adapters.rest.work import Work
from crm_sync.endpoints import LEASE_S
from crm_sync.guard import Resolve, resolve_host
from crm_sync.settings import CASE_TYPES, EndpointSettings, MessageType
from devices.errors import ConfigError, Fault, Retryable

_PATIENCE_S: Final = 0.75 * LEASE_S  # for all calls of one delivery: then the lease is still ours


class RestAdapter:
    """One helpdesk; docs/crm/rest.md says what its file may hold."""

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        resolve: Resolve = resolve_host,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises ConfigError naming every fault of the helpdesk's file."""
        where = f"crm.endpoints.{settings.name}"
        if not settings.spec_file:
            raise ConfigError([Fault(f"{where}.spec_file", "nothing", "the TOML file that describes the helpdesk")])
        strange = sorted(set(settings.types) - set(CASE_TYPES))
        if strange:
            raise ConfigError([Fault(f"{where}.types", ", ".join(strange), ", ".join(CASE_TYPES))])
        self.spec: Final = read_spec(Path(settings.spec_file))
        self._settings = settings
        self._caller = Caller(settings, self.spec, resolve=resolve, real_now_s=real_now_s)

    @property
    def capabilities(self) -> Capabilities:
        """As its file has them."""
        find, most = self.spec.find, min(self._settings.max_in_flight, self.spec.limits.in_flight)
        if find is None:
            return Capabilities(max_in_flight=most)
        return Capabilities("eventual" if find.lag else "strong", find.lag, most)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Make the calls that a message asks for."""
        work = Work(self.spec, self._caller, delivery)
        try:
            self._caller.admit()
            async with asyncio.timeout(_PATIENCE_S):
                outcome = await work.do()
        except CallFailed as failed:
            outcome = failed.outcome
        except TimeoutError:
            outcome = Outcome(Result.UNKNOWN, "timeout", "all calls together")
        return replace(outcome, external_id=work.external_id)

    async def find_case(self, key: str) -> Sequence[str]:
        """Every record under a case's id. Raises Retryable."""
        look = Delivery(key, "", MessageType.CASE_OPENED, b"{}", None, 1, uncertain=True)
        try:
            self._caller.admit()
            return await Work(self.spec, self._caller, look).find()
        except CallFailed as failed:
            outcome = failed.outcome
            raise Retryable(outcome.code, outcome.detail, outcome.retry_after_s) from failed

    def examine(self) -> AsyncIterator[Health]:
        """What the file's checks find, one after the other; nothing is written."""
        return examine(self.spec, self._caller)

    async def health(self) -> Health:
        """Make the file's checks."""
        found = [finding async for finding in self.examine()]
        wrong = [finding.detail for finding in found if not finding.ok]
        return Health(ok=not wrong, detail="; ".join(wrong) or f"{len(found)} checks hold")

    async def close(self) -> None:
        """Close the connections."""
        await self._caller.close()
