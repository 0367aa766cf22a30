"""The listen door behind TLS, with and without client certificates."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
import trustme

from tests.doors.door import OnePassword, listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.paho import PahoDevice

VERSIONS = pytest.mark.parametrize("version", [4, 5])


class Certificates:
    """An authority, the gateway's certificate, and devices' ones on demand."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        server = self._authority.issue_cert("127.0.0.1", "localhost")
        self.ca, self.certificate, self.key = (str(folder / name) for name in ("ca.pem", "server.pem", "server.key"))
        self._authority.cert_pem.write_to_path(self.ca)
        server.private_key_pem.write_to_path(self.key)
        for blob in server.cert_chain_pems:
            blob.write_to_path(self.certificate, append=True)

    def tls(self, **more: str) -> dict[str, str]:
        """Settings of the door."""
        return {"certificate": self.certificate, "key": self.key, **more}

    def client(self, device: str | None = None, authority: trustme.CA | None = None) -> ssl.SSLContext:
        """What a client uses; with a certificate when `device` is given."""
        context = ssl.create_default_context(cafile=self.ca)
        if device is not None:
            certificate = (authority or self._authority).issue_cert(f"{device}.devices.example", common_name=device)
            certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - half typed
        return context


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@VERSIONS
async def test_a_password_over_tls(certificates: Certificates, version: int) -> None:
    intake = HeldIntake(at_once=True)
    async with listening(intake, tls=certificates.tls()) as door:
        with PahoDevice(version).running(door.port, certificates.client()) as device:
            await eventually(lambda: device.connected == ["Success"])
            large = bytes(300_000)  # many TLS records
            device.publish(large)
            await eventually(lambda: device.acknowledged)
            assert intake.payloads == [large]
            device.client.disconnect()
            await eventually(lambda: device.ended)


async def test_a_refusal_reaches_the_client_over_tls(certificates: Certificates) -> None:
    async with listening(HeldIntake(), tls=certificates.tls()) as door:
        with PahoDevice(5, password="wrong").running(door.port, certificates.client()) as device:
            await eventually(lambda: device.connected == ["Bad user name or password"])


async def test_a_client_without_tls_gets_nowhere(certificates: Certificates) -> None:
    async with listening(HeldIntake(), tls=certificates.tls()) as door:
        with PahoDevice(5).running(door.port) as device:
            await eventually(lambda: device.ended)
            await eventually(lambda: door.stats.violations == {"tls_handshake": 1})
        assert device.connected == []


async def test_tls_1_1_is_refused(certificates: Certificates) -> None:
    context = certificates.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with listening(HeldIntake(), tls=certificates.tls()) as door:
        with pytest.raises(OSError):  # noqa: PT011 - each event loop has its own word for it
            await asyncio.open_connection("127.0.0.1", door.port, ssl=context)
        await eventually(lambda: door.stats.violations == {"tls_handshake": 1})


@VERSIONS
async def test_a_device_is_known_by_its_certificate(certificates: Certificates, version: int) -> None:
    authenticator = OnePassword()
    intake = HeldIntake(at_once=True)
    async with listening(intake, authenticator, tls=certificates.tls(client_ca=certificates.ca)) as door:
        device = PahoDevice(version, username="")
        with device.running(door.port, certificates.client("d7")):
            await eventually(lambda: device.connected == ["Success"])
            assert door.is_connected("d7.devices.example")
        names: Sequence[str] = authenticator.asked[0][3]
        assert names == ("d7.devices.example", "d7")


@pytest.mark.parametrize("stranger", [None, "d7"], ids=["no certificate", "another authority"])
async def test_without_a_certificate_of_the_authority_nobody_is_heard(
    certificates: Certificates, stranger: str | None
) -> None:
    authenticator = OnePassword()
    async with listening(HeldIntake(), authenticator, tls=certificates.tls(client_ca=certificates.ca)) as door:
        context = certificates.client(stranger, trustme.CA())
        with PahoDevice(5).running(door.port, context) as device:
            await eventually(lambda: device.ended)
        await eventually(lambda: door.stats.violations == {"tls_handshake": 1})
    assert authenticator.asked == []


async def test_certificates_may_be_optional(certificates: Certificates) -> None:
    tls = certificates.tls(client_ca=certificates.ca, client_certificates="optional")
    async with listening(HeldIntake(), tls=tls) as door:
        with PahoDevice(5).running(door.port, certificates.client()) as device:
            await eventually(lambda: device.connected == ["Success"])
