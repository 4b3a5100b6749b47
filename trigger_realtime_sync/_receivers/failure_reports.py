"""Tells OpenTelemetry and Sentry what ended a subscription, for those who ask for it."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from typing import Any

from ..errors import TriggerRealtimeError

logger = logging.getLogger("trigger_realtime_sync")

# Neither is imported by us first: who has not set it up hears nothing of it.
_OPENTELEMETRY = "opentelemetry.trace"
_SENTRY = "sentry_sdk"


def sentry_is_installed() -> bool:
    """Return whether `sentry_sdk` could be imported."""
    return sys.modules.get(_SENTRY) is not None or find_spec(_SENTRY) is not None


def report_failure(error: TriggerRealtimeError, subscription_id: str) -> None:
    """Report a terminal error, once for each subscription: as a span of its own that failed, and as
    an event of Sentry. Runs on a callback thread, without any lock; never raises an `Exception`."""
    details = {"subscription_id": subscription_id, "error.type": type(error).__name__}
    run_id = getattr(error, "run_id", None)
    if run_id:
        details["run_id"] = run_id
    for report in (_to_opentelemetry, _to_sentry):
        try:
            report(error, details)
        except Exception:
            logger.exception("a terminal error could not be reported", extra=_fields(details))


def _to_opentelemetry(error: TriggerRealtimeError, details: dict[str, str]) -> None:
    api: Any = sys.modules.get(_OPENTELEMETRY)
    if api is None:
        return
    attributes = {f"trigger.{key}": value for key, value in details.items() if key != "error.type"}
    attributes["error.type"] = details["error.type"]
    span = api.get_tracer("trigger_realtime_sync").start_span(
        "subscription failed", attributes=attributes
    )
    span.record_exception(error)
    span.set_status(api.Status(api.StatusCode.ERROR))
    span.end()


def _to_sentry(error: TriggerRealtimeError, details: dict[str, str]) -> None:
    sentry: Any = sys.modules.get(_SENTRY)
    if sentry is None or not sentry.is_initialized():
        return
    with sentry.new_scope() as scope:
        for key, value in details.items():
            scope.set_tag(f"trigger.{key}" if key != "error.type" else key, value)
        scope.capture_exception(error)


def _fields(details: dict[str, str]) -> dict[str, Any]:
    return {
        "subscription_ids": (details["subscription_id"],),
        "run_id": details.get("run_id"),
    }
