"""The example of a human approval: a run waits for a token, and a page completes it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.contrib.processes import EXAMPLES, Process, free_port, get, python, stop_seconds
from tests.contrib.test_browser import CHROMIUM, OPTIONS, SECONDS
from tests.support.settings import QUICK, TOKEN

flask = pytest.importorskip("flask", reason="Flask is not installed")

FOLDER = EXAMPLES / "flask_approval"

# Of the test client of Flask 2.3 with Werkzeug 3.0.
pytestmark = pytest.mark.filterwarnings("ignore:The '__version__' attribute:DeprecationWarning")


def module(name: str) -> ModuleType:
    """A file of the example, by a name of its own: other examples have a `tasks.py` as well."""
    spec = importlib.util.spec_from_file_location(f"approval_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    # Flask looks for its templates beside the module.
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def site(server) -> Iterator[Any]:
    """A visitor of the app, whose task runs on the test server."""
    module("tasks").play(server)
    example = module("app")
    app = example.create_app(
        TRIGGER_REALTIME_BASE_URL=server.url,
        TRIGGER_REALTIME_ACCESS_TOKEN=TOKEN,
        TRIGGER_REALTIME_RETRY=QUICK,
    )
    app.testing = True
    yield app.test_client()
    example.realtime.client_of(app).close()


def asked(site: Any, **fields: Any) -> Any:
    """Send the form of the page."""
    key = re.search(r'name="key" value="(\w+)"', site.get("/").text)
    assert key is not None
    return site.post("/refunds", data={"key": key[1], "order": "A-17", "amount": 25, **fields})


def run_id_of(answer: Any) -> str:
    found = re.search(r"/refunds/(run_\w+)", answer.location)
    assert found is not None, answer.location
    return found[1]


@pytest.mark.parametrize(("decision", "refunded"), [("approve", 25), ("refuse", 0)])
def test_a_run_waits_until_a_human_has_decided(server, client, site, decision, refunded):
    """The order is on the list for as long; then the run goes on with the decision."""
    run_id = run_id_of(asked(site))
    for run in client.subscribe_to_run(run_id).updates(timeout=20):
        if run.is_waiting:
            break
    (token,) = server.wait_tokens
    page = site.get("/").text
    assert token.id in page
    assert "A-17" in page
    assert token.timeout_at is not None
    site.post(f"/approvals/{token.id}", data={"decision": decision})
    run = client.wait_for_completion(run_id, timeout=20)
    assert run.output["refunded"] == refunded
    assert token.id not in site.get("/").text


def test_a_form_that_is_sent_twice_asks_once(server, site):
    """For one token, and one run."""
    again = {"key": "a" * 32}
    assert run_id_of(asked(site, **again)) == run_id_of(asked(site, **again))
    assert len(server.wait_tokens) == 1
    assert len({one.run_id for one in server.triggered("refund")}) == 1


def test_the_first_decision_counts(server, client, site):
    """Whoever else had the page open."""
    run_id = run_id_of(asked(site))
    (token,) = server.wait_tokens
    for decision in ("refuse", "approve"):
        assert site.post(f"/approvals/{token.id}", data={"decision": decision}).status_code == 303
    assert client.wait_for_completion(run_id, timeout=20).output["refunded"] == 0


def test_a_token_of_something_else_is_not_completed(server, client, site):
    """Its id may be known, but it is none of this page's."""
    other = client.wait_tokens.create(tags=["payroll"])
    assert site.post(f"/approvals/{other.id}", data={"decision": "approve"}).status_code == 404
    assert client.wait_tokens.retrieve(other.id).status == "WAITING"


@pytest.mark.parametrize(
    "fields",
    [{"order": "a,b"}, {"order": ""}, {"amount": "no"}, {"amount": -1}, {"key": "<x>"}],
    ids=str,
)
def test_what_is_no_refund_is_refused(server, site, fields):
    """Before anything is triggered."""
    assert asked(site, **fields).status_code == 400
    assert not server.wait_tokens
    assert not server.triggered()


def test_the_page_holds_no_secret(server, site):
    """Neither the key, nor the URL that completes the token without any right."""
    asked(site)
    (token,) = server.wait_tokens
    page = site.get("/").text
    assert TOKEN not in page
    assert token.url.rpartition("/")[2] not in page


def test_the_page_of_the_example_is_complete_in_itself():
    """Nothing is loaded from elsewhere."""
    pages = [page.read_text() for page in FOLDER.rglob("*.html")]
    assert len(pages) == 3
    for page in pages:
        assert "https://" not in page
        assert "src=" not in page


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    """The example as its docstring starts it, with a server of its own."""
    port = free_port()
    command = python("app.py", "--port", str(port))
    with Process(*command, cwd=FOLDER, log=tmp_path / "demo.log") as process:
        process.wait_for_port(port)
        yield process, port


@pytest.mark.web
def test_one_command_shows_it(demo):
    """It needs no account, and stops at once, though runs wait."""
    process, port = demo
    assert "Ask for a refund" in get(port, "/")
    assert process.seconds_to_stop(signal.SIGINT) < stop_seconds()
    assert "Traceback" not in process.log


@pytest.mark.web
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
)
def test_two_people_and_their_browsers(demo):
    """One asks and sees the page change when the other one has decided."""
    from playwright.sync_api import sync_playwright

    process, port = demo
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        asking, deciding = browser.new_page(), browser.new_page()
        for page in (asking, deciding):
            page.set_default_timeout(SECONDS)
            page.goto(f"http://127.0.0.1:{port}/")
        asking.fill("[name=order]", "B-1")
        asking.click("text=Ask for a refund")
        asking.wait_for_selector("#text >> text=waiting for a human")
        deciding.reload()
        _picture(deciding, "waiting")
        deciding.click("li:has-text('B-1') >> text=Approve")
        asking.wait_for_selector("#text >> text=25 € paid back")
        asking.wait_for_selector("#link[data-state=done]")
        _picture(asking, "refunded")
        deciding.wait_for_selector("text=Nothing.")
        browser.close()
    assert process.seconds_to_stop(signal.SIGINT) < stop_seconds()


def _picture(page: Any, name: str) -> None:
    if "SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"approval-{name}.png")
