"""How a test plays the agent of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._s2_log import trim_body, trim_command
from ._sessions import Session, Sessions, channel_of


class SessionControl:
    """One session, as its agent and its operator see it. Safe from any thread.

    Args:
        name: its id, or its external id. It need not have been started.
    """

    def __init__(self, sessions: Sessions, name: str, environment: str) -> None:
        self._sessions = sessions
        self._name = name
        self._environment = environment

    @property
    def session(self) -> Session:
        """What the server keeps of the session.

        Raises:
            KeyError: it was not started.
        """
        found = self._sessions.find(self._name, self._environment)
        if found is None:
            raise KeyError(f"this server has no session {self._name!r}")
        return found

    @property
    def run_id(self) -> str:
        """The run that the session has now."""
        return self.session.run_id

    def records(self, io: str = "in", channel: str | None = None) -> list[dict[str, Any]]:
        """Return the records of a channel that are left."""
        return self._sessions.logs.records(self._stream(io, channel))

    def write(self, *parts: Any, channel: str | None = None) -> list[int]:
        """Write parts to `out`, and return their numbers."""
        logs = self._sessions.logs
        bodies = ({"data": part, "id": logs.envelope_id()} for part in parts)
        return self.append_records(*({"body": body} for body in bodies), channel=channel)

    def append_records(
        self, *records: Mapping[str, Any], io: str = "out", channel: str | None = None
    ) -> list[int]:
        """Write exactly these S2 records, as `RealtimeServer.append_records` does."""
        return self._sessions.logs.write(self._stream(io, channel), records)

    def control(self, name: str, headers: Mapping[str, str] | None = None) -> int:
        """Write a control record to `out`, and return its number."""
        pairs = [[key, text] for key, text in (headers or {}).items()]
        return self.append_records({"headers": [["trigger-control", name], *pairs]})[0]

    def complete_turn(
        self, *, took_in: int | None = None, token: str | None = None, closed: bool = False
    ) -> int:
        """Write the end of a turn, and return its number.

        Args:
            took_in: the highest number of `in` that the turn took in.
            token: the public token that readers go on with.
            closed: the session was closed during the turn.
        """
        headers = {
            "public-access-token": token,
            "session-in-event-id": None if took_in is None else str(took_in),
            "session-closed": "true" if closed else None,
        }
        given = {name: text for name, text in headers.items() if text is not None}
        return self.control("turn-complete", given)

    def trim_before(self, seq_num: int) -> int:
        """Trim the records of `out` before a number by a command, as agents do after each turn."""
        return self.append_records(trim_command(trim_body(seq_num)))[0]

    def close(self, reason: str | None = None) -> None:
        """Close the session, as an operator does."""
        self._sessions.close(self.session, reason)

    def _stream(self, io: str, channel: str | None) -> tuple[str, str]:
        found = self._sessions.find(self._name, self._environment)
        return channel_of(self._name if found is None else found.name, io, channel)
