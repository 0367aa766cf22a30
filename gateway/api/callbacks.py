"""Where CRMs call back: the signature decides, not the bearer token."""

from functools import partial
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from crm_sync.adapters import load_adapters, open_inbound
from crm_sync.adapters.contract import Acknowledging
from crm_sync.callbacks import MAX_BODY_BYTES, receive
from crm_sync.cases.callback import apply_callback
from crm_sync.settings import CrmSettings
from crm_sync.wording.catalogue import load_wordings
from devices.clock import Clock
from gateway.api.router import Router


def callbacks_router(
    pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
    tenant_id: str,
    crm: CrmSettings,
    clock: Clock,
) -> Router:
    """``POST /callbacks/{endpoint}``. Raises ConfigError where an endpoint's hooks cannot be believed."""
    router = Router(tags=["callbacks"])
    endpoints = {endpoint.name: endpoint for endpoint in crm.endpoints}
    apply = partial(apply_callback, wording=load_wordings(crm.language, crm.wording_folder).of())
    factories = load_adapters()
    inbounds = {endpoint.name: open_inbound(endpoint, factories) for endpoint in crm.endpoints}

    @router.post("/callbacks/{endpoint}", response_model=None)
    async def callback(endpoint: str, request: Request) -> Response:
        """What a CRM says about one of its cases: signed after Standard Webhooks, or in its own form."""
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                break  # `receive` refuses it; the rest need not be read
        answer = await receive(
            pool,
            endpoints.get(endpoint),
            request.headers,
            bytes(body),
            clock.now_s(),
            apply=apply,
            inbound=inbounds.get(endpoint),
            query=request.query_params,
            tenant_id=tenant_id,
        )
        inbound = inbounds.get(endpoint)
        if answer.status < HTTPStatus.MULTIPLE_CHOICES and isinstance(inbound, Acknowledging):
            return Response(inbound.acknowledgement.body, media_type=inbound.acknowledgement.media_type)
        return JSONResponse({"effect": answer.effect}, answer.status)

    return router
