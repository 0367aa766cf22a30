"""django-helpdesk on a port of the loopback address, with a queue, a field for the case's id, and an agent.

    helpdesk_server.py FOLDER PORT HOOK    where HOOK is told of new and changed tickets; empty: nobody

It says "ready" on standard output when it listens.
"""

import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

FOLDER, PORT, HOOK = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
HOOKS = [HOOK] if HOOK else []

settings.configure(
    SECRET_KEY="of nothing that matters",
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SITE_ID=1,
    USE_TZ=True,
    LOGIN_URL="/login/",
    MEDIA_ROOT=str(FOLDER / "media"),
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    EMAIL_BACKEND="django.core.mail.backends.dummy.EmailBackend",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "helpdesk.sqlite3",
            "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.sites",
        "django.contrib.humanize",
        "django.contrib.messages",
        "django.contrib.admin",
        "helpdesk",
        "rest_framework",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    HELPDESK_ACTIVATE_API_ENDPOINT=True,
    HELPDESK_TEAMS_MODE_ENABLED=False,
    HELPDESK_VALID_EXTENSIONS=[".svg"],
    HELPDESK_GET_NEW_TICKET_WEBHOOK_URLS=lambda: HOOKS,
    HELPDESK_GET_FOLLOWUP_WEBHOOK_URLS=lambda: HOOKS,
)


urlpatterns: list[object] = []  # filled once Django is set up


class Server(ThreadingMixIn, WSGIServer):
    """Several requests at once, as behind a real web server."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Nobody reads its log."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def furnish() -> None:
    """Make the database and what a company would set up by hand."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from helpdesk.models import CustomField, Queue

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    if not users.filter(username="careloop").exists():
        users.create_superuser("careloop", "careloop@example.com", "pass-of-careloop")
        Queue.objects.create(title="Service", slug="service", allow_public_submission=False)
        CustomField.objects.create(
            name="careloop_case",
            label="careloop case",
            data_type="varchar",
            max_length=80,
            required=False,
            staff_only=True,
        )


def main() -> None:
    """Serve until killed."""
    from django.core.wsgi import get_wsgi_application

    django.setup()
    from django.contrib import admin
    from django.urls import include, path

    urlpatterns.extend([path("admin/", admin.site.urls), path("", include("helpdesk.urls", namespace="helpdesk"))])
    furnish()
    with make_server("127.0.0.1", PORT, get_wsgi_application(), Server, Quiet) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
