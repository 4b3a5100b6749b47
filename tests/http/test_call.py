"""What bounds one request."""

from __future__ import annotations

import socket

import pytest

from trigger_realtime_sync._http.call import Call


@pytest.mark.parametrize("limit", [Call.set_silence, Call.limit_silence])
def test_a_connection_that_is_closed_already_needs_no_bound(limit):
    """By the end of its last answer, or by `close()` on another thread: the next read finds out."""
    call = Call()
    with socket.socket() as sock:
        call.watch(sock)
        limit(call, 1.0)
        assert sock.gettimeout() == 1.0
    limit(call, 0.5)
