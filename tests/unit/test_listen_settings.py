"""Settings of the doors say at once what is wrong with them."""

from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError

from devices.clock import SystemClock
from devices.errors import ConfigError
from gateway.doors.listen.server import ListenDoor
from gateway.doors.routes import Routes
from gateway.doors.settings import ListenSettings, RouteSettings, SubscribeSettings, TlsSettings, is_loopback
from tests.doors.door import OnePassword
from tests.doors.intake import HeldIntake


def door(settings: ListenSettings) -> ListenDoor:
    return ListenDoor(settings, HeldIntake(), OnePassword(), Routes(), SystemClock(), structlog.get_logger())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example", ""])
def test_without_tls_only_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match=r"host\s+Value error, without listen.tls only a loopback address"):
        ListenSettings(host=host)
    with pytest.raises(ConfigError, match=r"listen.host"):
        door(ListenSettings.model_construct(host=host, tls=TlsSettings()))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert ListenSettings(host=host).host == host


def test_with_tls_any_address() -> None:
    assert ListenSettings(host="0.0.0.0", tls=TlsSettings(certificate="c", key="k")).host == "0.0.0.0"


def test_tls_is_whole() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        TlsSettings(certificate="c")
    with pytest.raises(ValidationError, match="needs a certificate"):
        TlsSettings(client_ca="c")


def test_files_that_cannot_be_used_are_named_all_at_once(tmp_path: Path) -> None:
    missing, wrong = tmp_path / "missing.pem", tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    with pytest.raises(ConfigError) as caught:
        door(ListenSettings(tls=TlsSettings(certificate=str(missing), key=str(missing), client_ca=str(wrong))))
    assert [fault.setting for fault in caught.value.faults] == ["listen.tls.certificate", "listen.tls.client_ca"]


def test_spans_may_be_words() -> None:
    assert ListenSettings.model_validate({"connect_timeout": "5s"}).connect_timeout == 5.0


def test_a_password_comes_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert SubscribeSettings(password_file=str(file)).read_password() == "secret"
    settings = SubscribeSettings.model_validate({"password": "secret"})
    assert settings.read_password() == "secret"
    assert "secret" not in repr(settings)
    with pytest.raises(ValidationError, match="not both"):
        SubscribeSettings.model_validate({"password": "secret", "password_file": str(file)})


def test_our_own_engine_speaks_tcp_only() -> None:
    with pytest.raises(ValidationError, match="engine fast speaks tcp only, not websockets"):
        SubscribeSettings(engine="fast", transport="websockets")


def test_a_wrong_route_is_refused() -> None:
    assert RouteSettings(pattern="a/{device_id}", carries="events").codec == "json"
    with pytest.raises(ValidationError, match="exactly one level"):
        RouteSettings(pattern="a/b", carries="events")
