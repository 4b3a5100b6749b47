"""The dashboards of the examples, as processes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.contrib.processes import EXAMPLES, Process, free_port, python

KEEP_ALIVE = "0.3"


class Site:
    """A dashboard that shows the runs of an API."""

    def __init__(self, api: str, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._api = api
        self._folder = folder
        self._process: Process | None = None

    def start(self) -> None:
        self._process = self._run()
        self._process.wait_for_port(self.port)

    def kill(self) -> None:
        if self._process is not None:
            self._process.__exit__()

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    def _run(self) -> Process:
        raise NotImplementedError


class FlaskSite(Site):
    """`examples/flask_dashboard`."""

    tag = "dashboard"

    def _run(self) -> Process:
        options = ("--api", self._api, "--port", str(self.port), "--keep-alive", KEEP_ALIVE)
        folder = EXAMPLES / "flask_dashboard"
        log = self._folder / "flask.log"
        return Process(*python("app.py", *options), cwd=folder, log=log)

    def let_see(self, run_id: str) -> None:
        """Do nothing: every visitor sees every run."""

    def enter(self, page: Any) -> None:
        """Do nothing: there is no login."""


class DjangoSite(Site):
    """`examples/django_dashboard`."""

    tag = "user_1"

    def _run(self) -> Process:
        options = ("demo", "--api", self._api, "--port", str(self.port))
        return Process(
            *python("manage.py", *options),
            cwd=EXAMPLES / "django_dashboard",
            env={"DASHBOARD_DB": str(self._database), "DASHBOARD_KEEP_ALIVE": KEEP_ALIVE},
            log=self._folder / "django.log",
        )

    @property
    def _database(self) -> Path:
        return self._folder / "dashboard.sqlite3"

    def let_see(self, run_id: str) -> None:
        """Give the run to the user of the demonstration."""
        statement = "INSERT INTO dashboard_job (owner_id, run_id, status) VALUES (1, ?, 'QUEUED')"
        with contextlib.closing(sqlite3.connect(self._database, timeout=20)) as database:
            database.execute(statement, [run_id])
            database.commit()

    def enter(self, page: Any) -> None:
        """Log in."""
        page.goto(f"{self.url}/login")
        page.click("main button")
        page.wait_for_url(f"{self.url}/")


SITES = {"flask": FlaskSite, "django": DjangoSite}


@contextlib.contextmanager
def running_site(kind: str, api: str, folder: Path) -> Iterator[Any]:
    site = SITES[kind](api, folder)
    try:
        site.start()
        yield site
    finally:
        site.kill()
