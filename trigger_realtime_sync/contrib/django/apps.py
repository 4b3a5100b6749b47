"""The app: registers the checks, and follows overridden settings in tests."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed


class TriggerRealtimeConfig(AppConfig):
    name = "trigger_realtime_sync.contrib.django"
    label = "trigger_realtime"
    verbose_name = "Trigger.dev Realtime"

    def ready(self) -> None:
        from .checks import check_settings
        from .client import on_setting_changed

        checks.register(check_settings)
        setting_changed.connect(on_setting_changed, dispatch_uid="trigger_realtime")
