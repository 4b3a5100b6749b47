"""The caller's trace, where OpenTelemetry is in use: it is never imported by us first."""

from __future__ import annotations

import sys

# Of `opentelemetry-api`.
_API = "opentelemetry.trace"


def trace_headers() -> dict[str, str]:
    """Return the headers that link a run's trace to the current span, if there is one.

    Source: https://www.w3.org/TR/trace-context/ and docs/protocol.md, section R1.
    """
    api = sys.modules.get(_API)
    if api is None:
        return {}
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        parent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        state = context.trace_state.to_header()
    except Exception:  # noqa: BLE001 (a broken tracer must not keep a run from being triggered)
        return {}
    return {"traceparent": parent, **({"tracestate": state} if state else {})}
