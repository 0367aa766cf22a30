"""CRM endpoints: whether they may be reached, whether anybody answers there, and whether their certificate holds."""

import asyncio
import ssl
from typing import Final

import httpx

from crm_sync.guard import host_of, port_of
from crm_sync.guarded_transport import check_target
from crm_sync.settings import EndpointSettings
from devices.errors import CareloopError
from gateway.doctor.certificates import CertificateError, not_after_s
from gateway.doctor.finding import Finding
from gateway.doctor.machine import judge_expiry

CONNECT_TIMEOUT_S: Final = 5.0


async def examine_crm(endpoint: EndpointSettings, number: int, now_s: float) -> list[Finding]:
    """The name, the guard, the connection and the certificate of one endpoint; no request is sent."""
    what = f"crm {endpoint.name}"
    setting = f"crm.endpoints.{number}"
    try:
        addresses = await check_target(endpoint)
    except CareloopError as error:
        fix = f"correct {setting}.url; allow_http, allow_networks and ports open what runs inside your network"
        return [Finding(what, ok=False, says=str(error), fix=fix)]
    url = httpx.URL(endpoint.url)
    address = addresses.split(", ")[0]
    try:
        der = await _connect(url, address, endpoint)
    except ssl.SSLCertVerificationError as error:
        fix = f"let the CRM show a valid certificate, or name the authority that signed it in {setting}.ca_file"
        return [
            Finding(what, ok=False, says=f"{address}: its certificate is refused ({error.verify_message})", fix=fix)
        ]
    except (OSError, TimeoutError) as error:
        why = "nobody answers" if isinstance(error, TimeoutError) else str(error)
        fix = f"start the CRM, open the way to it, or correct {setting}.url"
        return [Finding(what, ok=False, says=f"{address} takes no connection ({why})", fix=fix)]
    findings = [Finding(what, ok=True, says=f"answers at {address}")]
    if der is not None:
        try:
            findings.append(judge_expiry(f"certificate {what}", not_after_s(der), now_s))
        except CertificateError as error:
            findings.append(Finding(f"certificate {what}", ok=True, says=f"accepted, though {error}"))
    return findings


async def _connect(url: httpx.URL, address: str, endpoint: EndpointSettings) -> bytes | None:
    """Connect as a delivery would, and hang up; the certificate that was shown, where the endpoint speaks TLS."""
    context: ssl.SSLContext | None = None
    if url.scheme == "https":
        own = ssl.create_default_context(cafile=endpoint.ca_file) if endpoint.ca_file else None
        context = own or httpx.create_ssl_context()
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        _, writer = await asyncio.open_connection(
            address, port_of(url), ssl=context, server_hostname=host_of(url) if context else None
        )
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    der = None if tls is None else tls.getpeercert(binary_form=True)
    writer.close()
    return der
