"""Secrets in texts of the network are hidden, and nothing else is."""

from __future__ import annotations

import pytest

from trigger_realtime_sync._http.mask import (
    Mask,
    Secret,
    secrets_of_headers,
    secrets_of_proxies,
)

TOKEN = "tr_prod_Abcdefghijklmnop"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"<{TOKEN}>", "<***>"),
        (f"{TOKEN} {TOKEN}", "*** ***"),
        (f"<{TOKEN.upper()}>", "<***>"),
        ("x-tr_prod_abcdefghijklmnop: 1", "x-***: 1"),
        (f"cut short: {TOKEN[:12]}", "cut short: ***"),
        (f"its end: {TOKEN[9:]}", "its end: ***"),
        (f"from within: {TOKEN[6:16]}.", "from within: ***."),
        ("a tr_prod_ token", "a tr_prod_ token"),
        ("ends in mnop", "ends in mnop"),
        ("Größe İ: nothing", "Größe İ: nothing"),
        ("", ""),
    ],
)
def test_a_secret_is_hidden_whole_and_in_pieces(text, shown):
    """In either case, wherever it was cut; what tells only its kind is shown."""
    assert Mask([TOKEN]).hide(text) == shown


def test_a_short_one_is_hidden_whole():
    """Its pieces are too short to say."""
    assert Mask(["tr_x"]).hide("tr_x, tr_ and <TR_X>") == "***, tr_ and <***>"


def test_several_are_hidden_at_once():
    """Though one is short, and one contains another."""
    assert Mask(["abc", "0123456789abcdef"]).hide("x0123456789abcdefx abc") == "x***x ***"


def test_an_empty_one_hides_nothing():
    """Nor does a mask without any."""
    assert Mask([""]).hide("text") == Mask().hide("text") == "text"


def test_a_secret_is_a_text_that_is_not_shown():
    """It is sent as it is, and printed only by whoever wants to."""
    secret = Secret(TOKEN)
    assert f"Bearer {secret}" == f"Bearer {TOKEN}"
    assert secret == TOKEN
    assert TOKEN not in repr([secret])


def test_the_secrets_of_headers():
    """Words as `true` mean something else in what a server says."""
    assert secrets_of_headers({"X-Key": "k" * 20, "X-Debug": "true"}) == ["k" * 20]


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://user:p%40ss@proxy:3128", ["p%40ss", "p@ss", "dXNlcjpwQHNz"]),
        ("user:pass@proxy:3128", ["pass", "pass", "dXNlcjpwYXNz"]),
        ("http://user@proxy:3128", []),
        ("http://proxy:3128", []),
        ("http://[::1", []),
        (None, []),
    ],
)
def test_the_secrets_of_proxies(url, secrets):
    """As their URLs have them, and as they are sent; a URL that is none has none."""
    assert secrets_of_proxies({"http": url}) == secrets
