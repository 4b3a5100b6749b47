"""The app: connects the receivers of signals."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "dashboard"

    def ready(self):
        from . import receivers  # noqa: F401
