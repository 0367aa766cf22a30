"""Whether settings can be carried out, looked at before anything is started."""

from collections.abc import Callable, Mapping

from crm_sync.delivery.channels import open_channels
from devices.errors import ConfigError, Fault
from devices.payloads import load_codecs
from devices.profiles import AUTOMATIC, load_profiles
from devices.profiles.model import Profile
from gateway.database.connect import configured_url, is_embedded
from gateway.detect.engine import Engine
from gateway.doors.listen.tls import server_context
from gateway.doors.routing import build_routes
from gateway.doors.subscribe.secrets import read_secrets
from gateway.settings import Settings


def check_settings(settings: Settings) -> Mapping[str, Profile]:
    """Look at everything that settings name: profiles, watches, codecs, files, connection strings.

    Returns the device profiles by model. Raises ConfigError with every fault at once.
    """
    faults: list[Fault] = []

    def attempt(look: Callable[[], object]) -> None:
        try:
            look()
        except ConfigError as error:
            faults.extend(error.faults)

    profiles: dict[str, Profile] = {AUTOMATIC.model: AUTOMATIC}
    attempt(lambda: profiles.update(load_profiles(settings.profiles.folders)))
    attempt(lambda: Engine(profiles, settings.detect))
    faults.extend(_nameless_models(settings))
    attempt(lambda: server_context(settings.listen.tls))
    if settings.subscribe.enabled:
        attempt(lambda: read_secrets(settings.subscribe))
    attempt(lambda: open_channels(settings.crm.endpoints))
    if not is_embedded(settings):
        attempt(lambda: configured_url(settings.database))
    attempt(lambda: build_routes(settings.routes, load_codecs()))
    if faults:
        raise ConfigError(faults)
    return profiles


def _nameless_models(settings: Settings) -> list[Fault]:
    """One of a name that no profile bears may be a product that is no longer made, whose readings are still there."""
    return [
        Fault(f"retention.models.{number}.model", "nothing", "the name of a product model")
        for number, one in enumerate(settings.retention.models)
        if not one.model
    ]
