"""The examples in a real browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.sites import SITES, running_site
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="playwright is not installed"
    ),
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SECONDS = 15_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(params=sorted(SITES))
def site(request: pytest.FixtureRequest, server: RealtimeServer, tmp_path: Path) -> Iterator[Any]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    with running_site(request.param, server.url, tmp_path) as site:
        yield site


@pytest.fixture
def page(chromium: Any, site: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page whose scripts must not fail. `SCREENSHOTS` names a folder for a last screenshot."""
    failures: list[str] = []
    context = chromium.new_context(viewport={"width": 1000, "height": 760})
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.on("pageerror", lambda error: failures.append(str(error)))
    site.enter(page)
    yield page
    if not page.is_closed() and "SCREENSHOTS" in os.environ:
        page.screenshot(path=Path(os.environ["SCREENSHOTS"]) / f"{request.node.name}.png")
    context.close()
    assert not failures


def _wait(page: Any, script: str, argument: Any = None) -> None:
    page.wait_for_function(script, arg=argument, timeout=SECONDS)


def _wait_for_text(page: Any, text: str) -> None:
    _wait(page, "text => document.getElementById('text').textContent === text", text)


def test_the_bar_of_a_run_moves(page, site, server):
    """Empty, partial and full: the bar is as wide as the task reports."""
    page.goto(site.url)
    page.wait_for_selector("#link[data-state=live]")
    run_id = server.create_run("import-products", tags=[site.tag])
    page.wait_for_selector(f"#{run_id} >> text=queued")
    width = "([id, percent]) => document.querySelector(`#${id} .bar`).style.width === percent"
    for current in (20, 70):
        metadata = {"progress": {"current": current, "total": 100}, "text": f"at {current}"}
        server.update_run(run_id, status="EXECUTING", metadata=metadata)
        _wait(page, width, [run_id, f"{current}%"])
    failed = server.create_run("send-newsletter", tags=[site.tag])
    server.update_run(failed, status="EXECUTING", metadata={"progress": 0.4})
    server.fail_run(failed, "The address of reader 12 is wrong")
    page.wait_for_selector(f"#{failed} >> text=The address of reader 12 is wrong")
    server.complete_run(run_id)
    _wait(page, width, [run_id, "100%"])
    page.wait_for_selector(f"#{run_id} >> text=completed")
    page.wait_for_selector("text=0 active, 1 completed, 1 failed")


def test_an_answer_is_streamed_and_a_reload_resumes(page, site, server):
    """After a reload, everything written so far appears at once, and the rest word by word."""
    run_id = _answer(site, server)
    page.goto(f"{site.url}/answers/{run_id}")
    for word in ("A", " queue", " keeps", " work"):
        server.append(run_id, "answer", word)
        page.wait_for_function(
            "word => document.getElementById('text').textContent.endsWith(word)", arg=word
        )
    page.reload()
    _wait_for_text(page, "A queue keeps work")
    server.append(run_id, "answer", " that is to be done.")
    server.complete_run(run_id)
    _wait_for_text(page, "A queue keeps work that is to be done.")
    page.wait_for_selector("#link[data-state=done]")
    assert page.inner_text("#count") == "9 words"


def test_a_page_recovers_from_a_server_that_was_killed(page, site, server):
    """The page shows it, connects again by itself, and neither misses nor repeats anything."""
    run_id = _answer(site, server)
    server.append(run_id, "answer", "before", ", ")
    page.goto(f"{site.url}/answers/{run_id}")
    _wait_for_text(page, "before, ")
    site.kill()
    page.wait_for_selector("#link[data-state=lost]")
    server.append(run_id, "answer", "meanwhile", ", ")
    site.start()
    _wait_for_text(page, "before, meanwhile, ")
    server.append(run_id, "answer", "after")
    _wait_for_text(page, "before, meanwhile, after")
    page.wait_for_selector("#link[data-state=live]")


def test_closing_the_last_tab_ends_the_subscription(page, site, server):
    """Two tabs share a subscription, which ends when the second is closed."""
    run_id = server.create_run(tags=[site.tag])
    page.goto(site.url)
    page.wait_for_selector(f"#{run_id}")
    second = page.context.new_page()
    second.goto(site.url)
    second.wait_for_selector(f"#{run_id}")
    server.wait_until_held(1)
    assert server.open_connections == 1
    page.close()
    server.update_run(run_id, status="EXECUTING")
    second.wait_for_selector(f"#{run_id} >> text=executing")
    second.close()
    eventually(lambda: server.open_connections == 0, "the subscription goes on")


def test_a_phone_shows_a_page_without_scrolling_sideways(page, site, server):
    """Neither the header nor a name or an answer without a space is wider than the screen."""
    server.create_run("import-" + "products" * 12, tags=[site.tag], metadata={"text": "x" * 90})
    run_id = _answer(site, server)
    server.append(run_id, "answer", "x" * 300)
    page.set_viewport_size({"width": 360, "height": 740})
    for path, ready in (("/", ".run"), ("/questions", "form"), (f"/answers/{run_id}", "#text")):
        page.goto(site.url + path)
        page.wait_for_selector(ready)
        if ready == "#text":
            _wait_for_text(page, "x" * 300)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path


def test_what_a_task_says_is_text_and_its_progress_fits(page, site, server):
    """Names, texts and errors are no HTML, and a bar is never longer than its track."""
    html = "<img src=x onerror=alert(1)>"
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto(site.url)
    runs = {
        server.create_run(
            html, tags=[site.tag], status="EXECUTING", metadata={"text": html, "progress": progress}
        ): width
        for progress, width in (
            ({"current": 70, "total": 7}, 100),
            ({"percentage": -5}, 0),
            ({"percentage": html}, 0),
            ([html], 0),
        )
    }
    for run_id, width in runs.items():
        page.wait_for_selector(f"#{run_id}")
        assert page.inner_text(f"#{run_id} .task") == html
        assert page.inner_text(f"#{run_id} .percent") == f"{width} %"
    failed = next(iter(runs))
    server.fail_run(failed, html)
    page.wait_for_selector(f"#{failed} >> text=failed")
    assert page.inner_text(f"#{failed} .text") == html
    answer = _answer(site, server)
    server.append(answer, "answer", html)
    page.goto(f"{site.url}/answers/{answer}")
    _wait_for_text(page, html)
    assert page.locator("img").count() == 0


def test_a_page_that_back_brings_back_is_live_again(page, site, server):
    """A browser restores a page as it was left, with a closed connection."""
    run_id = server.create_run(tags=[site.tag])
    page.goto(site.url)
    page.wait_for_selector(f"#{run_id} >> text=queued")
    # What a browser dispatches; the one of the tests is told to keep no pages.
    event = "name => dispatchEvent(new PageTransitionEvent(name, { persisted: true }))"
    page.evaluate(event, "pagehide")
    eventually(lambda: server.open_connections == 0, "the page that was left is still connected")
    server.update_run(run_id, status="EXECUTING")
    page.evaluate(event, "pageshow")
    page.wait_for_selector(f"#{run_id} >> text=executing")


def _is_hidden(page: Any, hidden: bool) -> None:
    """Do what a browser does when another tab comes to the front, or goes."""
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_hidden_page_needs_no_connection(page, site, server):
    """A browser has six for a host, with HTTP/1.1; the page is as it should be when it is back."""
    run_id = server.create_run(tags=[site.tag])
    page.goto(site.url)
    page.wait_for_selector(f"#{run_id} >> text=queued")
    _is_hidden(page, True)
    eventually(lambda: server.open_connections == 0, "the hidden page is still connected")
    server.update_run(run_id, status="EXECUTING")
    _is_hidden(page, False)
    page.wait_for_selector(f"#{run_id} >> text=executing")
    page.wait_for_selector("#link[data-state=live]")


def test_a_page_that_is_refused_a_place_asks_again(page, site, server):
    """A 429 ends an `EventSource` for good: the page makes a new one. What it shows is dimmed."""
    run_id = server.create_run(tags=[site.tag])
    refusals = [429, 429]
    states: list[str] = []
    page.expose_function("told", lambda state: states.append(state))
    page.add_init_script(
        "document.addEventListener('realtime:state', event => told(event.detail.state))"
    )

    def refuse(route: Any) -> None:
        if refusals:
            route.fulfill(status=refusals.pop(), headers={"Retry-After": "1"}, body="")
        else:
            route.continue_()

    page.route("**/events/runs", refuse)
    page.goto(site.url)
    page.wait_for_selector("#link[data-state=lost]")
    assert page.evaluate("document.documentElement.dataset.realtime") == "reconnecting"
    page.wait_for_selector(f"#{run_id} >> text=queued")
    page.wait_for_selector("#link[data-state=live]")
    eventually(lambda: states == ["connecting", "reconnecting", "live"], f"{states}")


def test_cancelled_runs_are_counted_and_what_tells_no_progress_has_none(page, site, server):
    """Each bar has a name, which those who can't see it are told."""
    page.goto(site.url)
    run_id = server.create_run("import-products", tags=[site.tag], status="EXECUTING")
    page.wait_for_selector(f"#{run_id} >> text=executing")
    assert page.inner_text(f"#{run_id} .percent") == ""
    bar = page.locator(f"#{run_id} [role=progressbar]")
    assert bar.get_attribute("aria-valuenow") is None
    assert "import-products" in bar.get_attribute("aria-label")
    server.cancel_run(run_id)
    page.wait_for_selector("text=0 active, 0 completed, 0 failed, 1 cancelled")


def test_an_answer_that_failed_says_why(page, site, server):
    """Below what was written of it."""
    run_id = _answer(site, server)
    page.goto(f"{site.url}/answers/{run_id}")
    server.append(run_id, "answer", "A queue ")
    _wait_for_text(page, "A queue ")
    server.fail_run(run_id, "The model is busy")
    page.wait_for_selector("#error >> text=The model is busy")


def test_who_logs_out_in_another_tab_is_told_to_log_in_again(page, site, server):
    """The open stream ends at once, and the page does not try for ever. Flask has no users."""
    if site.tag == "dashboard":
        pytest.skip("the example for Flask has no users")
    run_id = server.create_run(tags=[site.tag])
    page.goto(site.url)
    page.wait_for_selector(f"#{run_id} >> text=queued")
    other = page.context.new_page()
    other.goto(site.url)
    other.click("header form button")
    page.wait_for_selector("#link >> text=log in again")
    eventually(lambda: server.open_connections == 0, "the run is still followed")


def test_nobody_sees_what_is_not_theirs(chromium, server, site):
    """Django shows nothing without a login, and then only the user's runs. Flask has no users."""
    if site.tag == "dashboard":
        pytest.skip("the example for Flask has no users")
    context = chromium.new_context()
    run_id = server.create_run(status="EXECUTING")
    paths = ("/events/runs", f"/events/answers/{run_id}")
    assert {context.request.get(site.url + path).status for path in paths} == {403}
    page = context.new_page()
    site.enter(page)
    assert context.request.get(f"{site.url}/events/answers/{run_id}").status == 403
    assert context.request.get(f"{site.url}/answers/{run_id}").status == 404
    context.close()


def _answer(site: Any, server: RealtimeServer) -> str:
    run_id = server.create_run(status="EXECUTING", realtime_streams=["answer"])
    site.let_see(run_id)
    return run_id
