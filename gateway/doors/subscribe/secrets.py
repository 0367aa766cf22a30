"""What a subscription shows its broker, and what it trusts, from their files."""

import ssl
from pathlib import Path

from devices.errors import ConfigError, Fault
from gateway.doors.settings import SubscribeSettings


def read_secrets(settings: SubscribeSettings) -> tuple[ssl.SSLContext | None, str]:
    """The TLS context and the password. Raises ConfigError naming every file that cannot be used."""
    faults: list[Fault] = []
    password = ""
    try:
        password = settings.read_password()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault("subscribe.password_file", settings.password_file, f"a file that can be read ({error})"))
    context: ssl.SSLContext | None = None
    if settings.tls.enabled:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        tls = settings.tls
        try:
            if tls.ca:
                context.load_verify_locations(Path(tls.ca).expanduser())
        except (OSError, ssl.SSLError) as error:
            faults.append(Fault("subscribe.tls.ca", tls.ca, f"a PEM file of authorities ({error})"))
        try:
            if tls.certificate:
                context.load_cert_chain(Path(tls.certificate).expanduser(), Path(tls.key).expanduser())
        except (OSError, ssl.SSLError) as error:
            found = f"{tls.certificate} with {tls.key}"
            faults.append(Fault("subscribe.tls.certificate", found, f"a PEM certificate and its key ({error})"))
    if faults:
        raise ConfigError(faults)
    return context, password
