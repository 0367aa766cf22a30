"""The fixtures every test may use; the services behind them are real, and their absence is a failure."""

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
)
