"""What a new device is told to try."""

import pytest

from gateway.cli.device_welcome import welcome
from gateway.settings import load_settings


@pytest.mark.parametrize(
    ("host", "tls", "there"),
    [("127.0.0.1", False, "-h 127.0.0.1"), ("0.0.0.0", True, "-h YOUR-GATEWAY"), ("10.1.2.3", True, "-h 10.1.2.3")],
)
def test_it_connects_to_an_address_that_can_be_connected_to(host: str, tls: bool, there: str) -> None:
    environment = {"CARELOOP_LISTEN__HOST": host}
    if tls:
        environment |= {"CARELOOP_LISTEN__TLS__CERTIFICATE": "a.pem", "CARELOOP_LISTEN__TLS__KEY": "a.key"}
    told = welcome(load_settings(None, environment), "kettle-1", "secret", None)
    assert there in (told.try_it or "")
    assert ("--cafile" in (told.try_it or "")) is tls
