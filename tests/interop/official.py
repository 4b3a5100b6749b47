"""The official client in a Node process of its own, driven by `driver.mjs`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PATIENCE = 20.0
COMMAND = "npm ci --prefix tests/interop"


def why_not() -> str | None:
    """Return the reason why the official client can't be run here, or None."""
    if shutil.which("node") is None:
        return "node is not installed: the official client needs Node 18 or newer"
    if not (HERE / "node_modules" / "@trigger.dev" / "core").is_dir():
        return f"the official client is not installed: {COMMAND}"
    return None


def is_required() -> bool:
    """Where a skipped comparison would go unnoticed."""
    return os.environ.get("CI", "").lower() in ("1", "true")


class Told:
    """What one subscription of the official client delivered."""

    def __init__(self, official: Official, number: int) -> None:
        self._official = official
        self._number = number
        self.runs: list[dict[str, Any]] = []
        self.parts: list[dict[str, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.ended = False
        self.error: str | None = None

    def wait_for(
        self,
        *,
        runs: int = 0,
        parts: int = 0,
        seen: int = 0,
        ended: bool = False,
        over: bool = False,
    ) -> None:
        """Block until at least this many were delivered; fail if they never are. `over`: the
        subscription has ended or failed."""

        def reached() -> bool:
            if len(self.runs) < runs or len(self.parts) < parts or self.ended < ended:
                return False
            if len(self.seen) < seen:
                return False
            return not over or self.ended or self.error is not None

        with self._official.changed:
            if not self._official.changed.wait_for(reached, PATIENCE):
                raise AssertionError(
                    f"the official client told {len(self.runs)} runs and {len(self.parts)} parts,"
                    f" not {runs} and {parts}; ended: {self.ended}; error: {self.error}"
                )

    def stop(self) -> None:
        self._official.send({"id": self._number, "op": "stop"})


class Official:
    """The process. Every subscription runs in it at the same time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", "driver.mjs"],
            cwd=HERE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={name: text for name, text in os.environ.items() if not name.startswith("TRIGGER")},
        )
        # Protects what was told.
        self.changed = threading.Condition()
        self._told: list[Told] = []
        self._thread = threading.Thread(target=self._listen, name="official client", daemon=True)
        self._thread.start()

    def subscribe(
        self, op: str, url: str, subject: Any, *, token: str = "tr_official", **options: Any
    ) -> Told:
        return self._ask(op=op, url=url, token=token, subject=subject, **options)

    def refuses(self, texts: Iterable[str], kind: str) -> list[bool]:
        """Return, for each packet, True if the official client can't decode it."""
        asked = [self._ask(op="packet", data=text, type=kind) for text in texts]
        for told in asked:
            told.wait_for(over=True)
        return [told.error is not None for told in asked]

    def _ask(self, **request: Any) -> Told:
        with self.changed:
            told = Told(self, len(self._told))
            self._told.append(told)
        self.send({"id": told._number, **request})
        return told

    def send(self, request: dict[str, Any]) -> None:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._thread.join(10)
        self._process.stdout.close()

    def _listen(self) -> None:
        for line in self._process.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue  # the official client prints too
            with self.changed:
                self._note(self._told[told["id"]], told["kind"], told["value"])
                self.changed.notify_all()

    @staticmethod
    def _note(told: Told, kind: str, value: Any) -> None:
        if kind == "run":
            told.runs.append(value)
        elif kind == "part":
            told.parts.append(value)
        elif kind == "seen":
            told.seen.append(value)
        elif kind == "end":
            told.ended = True
        else:
            told.error = value
