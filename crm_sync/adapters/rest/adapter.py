"""A helpdesk that a TOML file describes, as the delivery engine sees it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from crm_sync.adapters.contract import (
    Answered,
    Audit,
    Capabilities,
    Delivery,
    Health,
    Inbound,
    Limited,
    NotLetIn,
    Outcome,
    RecordChange,
    Result,
)
from crm_sync.adapters.rest.account import read_spec
from crm_sync.adapters.rest.caller import Caller
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.examine import examine
from crm_sync.adapters.rest.hearing import Tickets
from crm_sync.adapters.rest.limits import Budget
from crm_sync.adapters.rest.own_moves import words_put
from crm_sync.adapters.rest.people import Directory
from crm_sync.adapters.rest.reading import RestInbound, read_changes, read_contacts, read_tickets
from crm_sync.adapters.rest.steps import Going, step
from crm_sync.adapters.rest.story import Story
from crm_sync.adapters.rest.work import Work
from crm_sync.endpoints import LEASE_S
from crm_sync.guard import Resolve, resolve_host
from crm_sync.owners.told import OwnerNews
from crm_sync.settings import CASE_TYPES, EndpointSettings, MessageType
from crm_sync.wording.catalogue import load_wordings
from devices.errors import ConfigError, Fault, Retryable

_PATIENCE_S: Final = 0.75 * LEASE_S  # for all calls of one delivery: then the lease is still ours


class RestAdapter:
    """One helpdesk; docs/crm/rest.md says what its file may hold."""

    own_spec: ClassVar[Path | None] = None  # of those whose file careloop brings
    needed: ClassVar[Mapping[str, str]] = {}  # values of the account without which there is no way there: what they are

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        resolve: Resolve = resolve_host,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises ConfigError naming every fault of the helpdesk's file."""
        where = f"crm.endpoints.{settings.name}"
        strange = sorted(set(settings.types) - set(CASE_TYPES))
        if strange:
            raise ConfigError([Fault(f"{where}.types", ", ".join(strange), ", ".join(CASE_TYPES))])
        lacking = [
            Fault(f"{where}.account.{name}", "nothing", words)
            for name, words in self.needed.items()
            if not settings.account.get(name)
        ]
        if lacking:
            raise ConfigError(lacking)
        self.spec: Final = read_spec(settings, self.own_spec)
        self._settings = settings
        self._real_now_s = real_now_s
        words = load_wordings(settings.language, settings.wording_folder).of().words
        self._story = Story(words, settings.case_link)
        self._directory = Directory()
        self._caller = Caller(settings, self.spec, resolve=resolve, real_now_s=real_now_s)

    @classmethod
    def open_inbound(cls, settings: EndpointSettings) -> Inbound | None:
        """The hooks that its file describes; None where it calls back as careloop would. Raises ConfigError."""
        spec = read_spec(settings, cls.own_spec)
        inbound = spec.inbound
        secret = settings.callback_token.get_secret_value()
        if inbound is None or (cls.own_spec is not None and not secret):
            return None
        where = f"crm.endpoints.{settings.name}.callback_token"
        if not secret:
            raise ConfigError([Fault(where, "nothing", "the token, or the secret of signatures, that hooks come with")])
        previous = settings.previous_callback_token.get_secret_value()
        if {secret, previous} & set(inbound.never):
            raise ConfigError([Fault(where, "a secret that everybody knows", "the one of your own account")])
        until_s = None if settings.previous_secret_until is None else settings.previous_secret_until.timestamp()
        return RestInbound(inbound, secret, previous, until_s, has_duplicates=spec.duplicate is not None)

    @property
    def capabilities(self) -> Capabilities:
        """As its file has them."""
        find, most = self.spec.find, min(self._settings.max_in_flight, self.spec.limits.in_flight)
        if find is None:
            return Capabilities(max_in_flight=most)
        return Capabilities(
            "eventual" if find.lag else "strong", find.lag, most, completes=True, unites=self.spec.duplicate is not None
        )

    @property
    def account(self) -> str:
        """Whose limit is used up."""
        return self._caller.account

    @property
    def budget(self) -> Budget:
        """What is left of it."""
        return self._caller.budget

    def join(self, budget: Budget) -> None:
        """Count with others of the same account."""
        self._caller.join(budget)

    def _work(self, delivery: Delivery) -> Work:
        return Work(self.spec, self._caller, delivery, self._story, self._real_now_s())

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Make the calls that a message asks for."""
        work = self._work(delivery)
        try:
            await self._caller.admit()
            async with asyncio.timeout(_PATIENCE_S):
                outcome = await work.do()
        except CallFailed as failed:
            outcome = failed.outcome
        except TimeoutError:
            outcome = Outcome(Result.UNKNOWN, "timeout", "all calls together")
        put_as = words_put(self.spec, work.values, delivery) if outcome.result is Result.OK else ()
        return replace(outcome, external_id=work.external_id, put_as=put_as)

    async def find_case(self, key: str) -> Sequence[str]:
        """Every record under a case's id. Raises Retryable."""
        look = Delivery(key, "", MessageType.CASE_OPENED, b"{}", None, 1, uncertain=True)
        try:
            await self._caller.admit()
            return await self._work(look).find()
        except CallFailed as failed:
            raise _retryable(failed) from failed

    async def audit(self, delivery: Delivery, *, is_live: bool) -> Audit:
        """Hold a record against what would be delivered of a case now; nothing is written. Raises Retryable."""
        try:
            await self._caller.admit(can_wait=True)
            return await self._work(delivery).audit(is_live=is_live)
        except CallFailed as failed:
            raise _retryable(failed) from failed

    @property
    def poll_every_s(self) -> float | None:
        """As its file has it."""
        return None if self.spec.poll is None else self.spec.poll.every

    async def changes_since(self, since_s: float, place: object | None = None) -> Answered[RecordChange]:
        """Records that changed since an instant, as they stand now, or on from a place. Raises Retryable."""
        poll = self.spec.poll
        if poll is None:
            return Answered(())
        going = place if isinstance(place, Going) else Going()
        try:
            items, following = await step(self._caller, "poll", poll, self.spec.maps, since_s=since_s, going=going)
        except CallFailed as failed:
            raise _retryable(failed) from failed
        has_duplicates = self.spec.duplicate is not None
        told = [replace(change, version=None, may_be_duplicate=has_duplicates) for change in read_changes(poll, items)]
        return Answered(told, following, None if following is None else following.since_s)

    @property
    def owners_every_s(self) -> float | None:
        """The shorter span of those in its file."""
        asked = [each.every for each in (*self.spec.contacts, self.spec.tickets) if each is not None]
        return min(asked, default=None)

    async def owner_news_since(self, since_s: float, place: object | None = None) -> Answered[OwnerNews]:
        """Whom people contacted, and their own tickets, since an instant, or on from a place. Raises Retryable."""
        told: list[OwnerNews] = []
        going = place if isinstance(place, Going) else Going()
        listings = [*self.spec.contacts, *([self.spec.tickets] if self.spec.tickets is not None else [])]
        try:
            for number, listing in list(enumerate(listings))[going.listing :]:
                name = "tickets" if isinstance(listing, Tickets) else "contacts"
                items, following = await step(self._caller, name, listing, self.spec.maps, since_s=since_s, going=going)
                owners = await self._directory.owners(self._caller, self.spec, listing, items, self._real_now_s())
                if isinstance(listing, Tickets):
                    told += read_tickets(listing, items, owners)
                else:
                    told += read_contacts(listing, items, owners)
                if following is not None:
                    return Answered(told, following)
                going = Going(number + 1)
        except CallFailed as failed:
            raise _retryable(failed) from failed
        return Answered(told)

    def examine(self) -> AsyncIterator[Health]:
        """What the file's checks find, one after the other; nothing is written."""
        return examine(self.spec, self._caller, self._story)

    async def health(self) -> Health:
        """Make the file's checks."""
        found = [finding async for finding in self.examine()]
        wrong = [finding.detail for finding in found if not finding.ok]
        return Health(ok=not wrong, detail="; ".join(wrong) or f"{len(found)} checks hold")

    async def close(self) -> None:
        """Close the connections."""
        await self._caller.close()


def _retryable(failed: CallFailed) -> Retryable:
    kinds: Mapping[Result, type[Retryable]] = {Result.RATE_LIMITED: Limited, Result.AUTH: NotLetIn}
    kind = kinds.get(failed.outcome.result, Retryable)
    return kind(failed.outcome.code, failed.outcome.detail, failed.outcome.retry_after_s)
