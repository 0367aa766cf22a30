"""TLS of the listen door."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from devices.errors import ConfigError, Fault
from gateway.doors.settings import TlsSettings


def server_context(settings: TlsSettings) -> ssl.SSLContext | None:
    """What the door's sockets speak; None without TLS. Raises ConfigError naming the file that cannot be used."""
    if not settings.enabled:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    faults: list[Fault] = []
    try:
        context.load_cert_chain(Path(settings.certificate).expanduser(), Path(settings.key).expanduser())
    except (OSError, ssl.SSLError) as error:
        found = f"{settings.certificate} with {settings.key}"
        faults.append(Fault("listen.tls.certificate", found, f"a PEM certificate and its key ({error})"))
    if settings.client_ca:
        try:
            context.load_verify_locations(Path(settings.client_ca).expanduser())
        except (OSError, ssl.SSLError) as error:
            faults.append(Fault("listen.tls.client_ca", settings.client_ca, f"a PEM file of authorities ({error})"))
        required = settings.client_certificates == "required"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    if faults:
        raise ConfigError(faults)
    return context


def certificate_names(certificate: object) -> Sequence[str]:
    """The names in a client certificate that was verified: alternative names (DNS, URI), then common names."""
    if not isinstance(certificate, dict):
        return ()
    fields = cast("dict[str, object]", certificate)
    alternatives = cast("tuple[tuple[str, str], ...]", fields.get("subjectAltName", ()))
    names = [value for kind, value in alternatives if kind in ("DNS", "URI")]
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", fields.get("subject", ()))
    names += [value for part in subject for kind, value in part if kind == "commonName"]
    return tuple(dict.fromkeys(names))
