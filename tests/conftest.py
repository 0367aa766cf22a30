"""The fixtures every test may use; the services behind them are real, and their absence is a failure."""

from hypothesis import settings

# Folders first: the others import it, and pytest wants to rewrite its assertions before that.
pytest_plugins = (
    "tests.services.folders",
    "tests.services.postgres",
    "tests.services.mosquitto",
    "tests.services.mqttjs",
    "tests.services.gateway",
    "tests.services.crm",
    "tests.services.senders",
    "tests.services.django_helpdesk",
    "tests.services.roundup",
    "tests.services.chromium",
    "tests.services.console",
)

# How long an example takes says more of the machine than of the code. The examples are the same in every run, so that a
# change that is refused is at fault itself; `make test ARGS="--hypothesis-profile=wander tests/property"` seeks others.
settings.register_profile("wander", parent=settings(), deadline=None)
settings.register_profile("house", parent=settings.get_profile("wander"), derandomize=True)
settings.load_profile("house")
