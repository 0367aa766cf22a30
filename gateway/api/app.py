"""The API's application, put together from its routers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Depends, FastAPI
from psycopg_pool import AsyncConnectionPool

from crm_sync.settings import CrmSettings
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import load_wordings
from devices.clock import Clock
from gateway.api.alarms import alarms_router
from gateway.api.answers import answers_router
from gateway.api.callbacks import callbacks_router
from gateway.api.captures import captures_router
from gateway.api.cases import cases_router
from gateway.api.changes import Feed, changes_router
from gateway.api.clock import clock_router
from gateway.api.commands import commands_router
from gateway.api.counts import counts_router
from gateway.api.credentials import credentials_router
from gateway.api.deliveries import deliveries_router
from gateway.api.devices import devices_router
from gateway.api.export import export_router
from gateway.api.grants import grants_router
from gateway.api.health import ReadinessProbe, health_router
from gateway.api.incidents import incidents_router
from gateway.api.journey import journey_router
from gateway.api.limits import BodyLimit
from gateway.api.metrics import Scrape, metrics_router
from gateway.api.oidc import oidc_router
from gateway.api.openapi import describe, name_of
from gateway.api.outreach import outreach_router
from gateway.api.owners import owners_router
from gateway.api.parameters import only_known_parameters
from gateway.api.people import people_router
from gateway.api.playbooks import playbooks_router
from gateway.api.problems import install_problems
from gateway.api.quarantine import quarantine_router
from gateway.api.queries import Connection
from gateway.api.rollups import rollups_router
from gateway.api.router import Router
from gateway.api.session import session_router
from gateway.api.silences import silences_router
from gateway.api.watches import watches_router
from gateway.captures.captures import Captures
from gateway.commands.issue import Rules
from gateway.people.door import install_people, may_call
from gateway.people.headers import SecurityHeaders
from gateway.people.oidc import open_oidc
from gateway.people.people import People
from gateway.pipeline.pipeline import Pipeline
from gateway.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API looks at."""

    pool: AsyncConnectionPool[Connection]
    tenant_id: str
    people: People
    clock: Clock
    on_clock_set: Callable[[], Awaitable[None]]
    pipeline: Pipeline
    crm: CrmSettings
    trust: TrustRules
    probe: ReadinessProbe
    scrape: Scrape
    settings: ApiSettings
    is_connected: Callable[[str], bool]
    database: str  # the edition, in words
    controller: str  # who answers for the data, by name
    commands: Rules
    captures: Captures


def build_api(parts: ApiParts) -> FastAPI:
    """The API over the parts of a running gateway."""
    app = FastAPI(title="careloop", version="1", docs_url=None, redoc_url=None, generate_unique_id_function=name_of)
    app.router.redirect_slashes = False  # one slash too many is another address, with a console and without one
    install_problems(app)
    health_router(parts.probe).install(app)
    install_people(app, parts.people, parts.settings.public_url)
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders, is_https=parts.settings.public_url.startswith("https://"))
    metrics_router(parts.scrape, parts.settings).install(app)
    # A router's function is as long as its calls: each of them stands in it, where it sees what all of them are given.
    exactly = Depends(only_known_parameters)
    session_router().install(app, "/v1", [exactly])
    oidc_router(open_oidc(parts.people.settings.oidc, parts.people)).install(app, "/v1")
    for router in _guarded(parts):
        router.install(app, "/v1", [Depends(may_call), exactly])
    callbacks_router(parts.pool, parts.tenant_id, parts.crm, parts.clock).install(app, "/v1")
    answers_router(parts.pool, parts.tenant_id, parts.crm, parts.clock).install(app, "/v1", include_in_schema=False)
    describe(app)
    return app


def _guarded(parts: ApiParts) -> list[Router]:
    """What only those may call who are known, each as far as their role goes."""
    pool, clock = parts.pool, parts.clock
    wording = load_wordings(parts.crm.language, parts.crm.wording_folder).of()
    return [
        counts_router(pool, parts.pipeline, clock, parts.database),
        devices_router(pool, parts.pipeline.taps, parts.is_connected, parts.pipeline.prior_of),
        commands_router(pool, parts.commands, clock),
        credentials_router(pool, clock),
        captures_router(pool, parts.captures),
        rollups_router(pool),
        alarms_router(pool, clock),
        cases_router(pool, clock, wording),
        watches_router(pool, parts.trust, clock),
        playbooks_router(pool, parts.commands.profiles),
        incidents_router(pool),
        journey_router(pool, clock),
        quarantine_router(pool),
        deliveries_router(pool),
        export_router(pool),
        changes_router(Feed(pool)),
        silences_router(pool, clock),
        owners_router(pool),
        outreach_router(pool, parts.crm, clock),
        grants_router(pool, parts.crm, clock, parts.controller),
        people_router(pool),
        clock_router(clock, parts.on_clock_set),
    ]
