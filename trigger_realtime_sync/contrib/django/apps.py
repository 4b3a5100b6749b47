"""The app: registers the checks, and follows overridden settings in tests."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.core import checks
from django.core.signals import setting_changed

from ..sse import end_relays


class TriggerRealtimeConfig(AppConfig):
    name = "trigger_realtime_sync.contrib.django"
    label = "trigger_realtime"
    verbose_name = "Trigger.dev Realtime"

    def ready(self) -> None:
        from .checks import check_settings
        from .client import on_setting_changed

        checks.register(check_settings)
        setting_changed.connect(on_setting_changed, dispatch_uid="trigger_realtime")
        user_logged_out.connect(end_relays_of, dispatch_uid="trigger_realtime")


def end_relays_of(sender: Any, user: Any, **more: Any) -> None:
    """Let the browsers of a user who has logged out come again, and be asked again."""
    end_relays(of=getattr(user, "pk", None))
