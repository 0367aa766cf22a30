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

# How long an example takes says more of the machine than of the code. Its parent is what hypothesis chose by itself.
settings.register_profile("house", parent=settings(), deadline=None)
settings.load_profile("house")
