"""A Django project in one file, for tests in this process."""

from __future__ import annotations

import os
import tempfile

import django
from django.conf import settings


def _database() -> str:
    # Django never closes a database that is in memory.
    return os.path.join(tempfile.mkdtemp(prefix="trigger-realtime-"), "test.sqlite3")


def set_up() -> None:
    """Once per process."""
    if not settings.configured:
        settings.configure(
            SECRET_KEY="only for tests",
            ALLOWED_HOSTS=["*"],
            INSTALLED_APPS=[
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "trigger_realtime_sync.contrib.django",
            ],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _database()}},
            ROOT_URLCONF="trigger_realtime_sync.contrib.django.urls",
            USE_TZ=True,
        )
        django.setup()
