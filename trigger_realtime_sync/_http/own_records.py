"""What urllib3 logs of this library's requests, without secrets; nobody else's is touched.

At level DEBUG it logs the target of each request, and that of a presigned URL is as good as a
token. Where a head can't be parsed, it quotes it.
"""

from __future__ import annotations

import logging

from .call import current_call

LOGGERS = (
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.retry",
)


class OwnRecords(logging.Filter):
    """Rewrites records that are logged by a thread within a request of this library."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False to drop a record of a request whose target is a secret."""
        call = current_call()
        if call is None:
            return True
        if call.mask.hides_targets:
            return False
        record.msg, record.args = call.mask.hide(record.getMessage()), ()
        # The text of the exception, which would quote the same again.
        record.exc_info = record.exc_text = None
        return True


_filter = OwnRecords()


def hide_secrets() -> None:
    """Filter the records of urllib3 from now on. Call it as often as you like."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_filter)
