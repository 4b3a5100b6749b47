"""`token`, for what tasks wait for, and `public-token`."""

from __future__ import annotations

import json
import urllib.request

import pytest

from trigger_realtime_sync import PermissionDeniedError, RealtimeClient
from trigger_realtime_sync._encode.jwt import mint

from .conftest import ended


def test_a_token_is_created_and_completed(realtime_server, command):
    """The id stands alone on stdout; what it was completed with is shown."""
    end = ended(command("token", "create", "--timeout", "3d", "--tag", "approval", "--key", "k"))
    (token,) = realtime_server.wait_tokens
    assert (end.code, end.out, end.err) == (0, f"{token.id}\n", "")
    again = ended(command("token", "create", "--key", "k"))
    assert again.out == end.out
    assert "made before" in again.err
    line = ended(command("token", "show", token.id)).out
    assert line.split()[1:3] == [token.id, "WAITING"]
    assert "until " in line
    assert "#approval" in line
    assert ended(command("token", "complete", token.id, '{"ok": true}')).code == 0
    shown = json.loads(ended(command("token", "show", token.id, "--json")).out)
    assert (shown["status"], shown["output"]) == ("COMPLETED", {"ok": True})
    assert shown["idempotency_key"] == "k"


def test_the_data_comes_from_anywhere(realtime_server, command, tmp_path):
    """As for `trigger`; and there may be none."""
    path = tmp_path / "data.json"
    path.write_text("[1]", encoding="utf-8")
    outputs = []
    for arguments in (["[1]"], [f"@{path}"], ["yes", "--text"], []):
        token_id = ended(command("token", "create")).out.strip()
        assert ended(command("token", "complete", token_id, *arguments)).code == 0
        shown = json.loads(ended(command("token", "show", token_id, "--json")).out)
        outputs.append(shown["output"])
    assert outputs == [[1], [1], "yes", None]


def test_the_url_completes_it(realtime_server, command):
    """It is printed where it is asked for, and nowhere else."""
    made = json.loads(ended(command("token", "create", "--json")).out)
    assert made["public_access_token"].startswith("eyJ")
    assert ended(command("token", "show", made["id"], "--url")).out == f"{made['url']}\n"
    for arguments in (["show", made["id"]], ["show", made["id"], "--json"], ["list", "--json"]):
        end = ended(command("token", *arguments))
        assert made["id"] in end.out
        assert made["url"] not in end.out
    url = ended(command("token", "create", "--url")).out.strip()
    request = urllib.request.Request(url, data=b'{"a": 1}', method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    assert [one.status for one in realtime_server.wait_tokens] == ["WAITING", "COMPLETED"]


def test_tokens_are_listed(realtime_server, command):
    """The newest first; filters choose."""
    ids = [ended(command("token", "create", "--tag", tag)).out.strip() for tag in ("a", "b", "a")]
    ended(command("token", "complete", ids[0]))
    listed = ended(command("token", "list")).lines
    assert [line.split()[1] for line in listed] == ids[::-1]
    end = ended(command("token", "list", "--tag", "a", "--status", "waiting", "--json"))
    assert [json.loads(line)["id"] for line in end.lines] == [ids[2]]
    assert "there are more" in ended(command("token", "list", "--limit", "2")).err
    end = ended(command("token", "list", "--status", "timed_out"))
    assert (end.code, end.out) == (0, "")
    assert "no such tokens" in end.err


def test_a_doubt_is_told(realtime_server, command):
    """Whether there is a token; and how to try again."""
    never = {"status": 500, "headers": {"x-should-retry": "false"}}
    realtime_server.fail_next(match="wait_token", **never)
    end = ended(command("token", "create"))
    assert (end.code, end.out) == (69, "")
    assert "--key" in end.err


def test_a_public_token_reads_what_is_named(realtime_server, command):
    """And nothing else; no option, however often it is given, takes back another."""
    runs = [realtime_server.create_run("t") for _ in range(4)]
    end = ended(
        command(
            *("public-token", "--read-run", runs[0], runs[1], "--read-run", runs[2]),
            *("--expires", "1h"),
        )
    )
    assert (end.code, end.err) == (0, "")
    with RealtimeClient(end.out.strip(), base_url=realtime_server.url) as client:
        for run_id in runs[:3]:
            assert client.runs.retrieve(run_id).id == run_id
        with pytest.raises(PermissionDeniedError):
            client.runs.retrieve(runs[3])


def test_a_public_token_may_trigger_once(realtime_server, command):
    """Where it may do nothing else."""
    token = ended(command("public-token", "--trigger", "t")).out.strip()
    first = ended(command("trigger", "t", "--token", token))
    assert first.code == 0
    assert ended(command("trigger", "t", "--token", token)).code == 69


def test_raw_scopes_and_their_like(realtime_server, command):
    """All that a server knows may be named."""
    end = ended(
        command(
            *("public-token", "--scope", "write:waitpoints:waitpoint_1", "--read-tag", "a"),
            *("--read-task", "t", "--read-batch", "batch_1", "--batch-trigger", "t"),
        )
    )
    assert end.code == 0
    assert end.out.count(".") == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["public-token"],
        ["public-token", "--read-run"],
        ["public-token", "--read-run", ""],
        ["public-token", "--scope", "all"],
        ["public-token", "--read-run", "run_1", "--expires", "soon"],
        ["token", "create", "--timeout", "soon"],
        ["token", "create", "--tag", "a,b"],
        ["token", "create", "--json", "--url"],
        ["token", "complete", "waitpoint_1", "no json"],
        ["token", "complete", ""],
        ["token", "list", "--since", "0"],
        ["token"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_before_anything_is_sent(realtime_server, command, arguments):
    """With the exit code of a wrong usage, and the name of the option."""
    end = ended(command(*arguments))
    assert (end.code, end.out) == (64, "")
    assert end.err
    assert "expires_in" not in end.err
    assert realtime_server.requests == []


def test_a_public_token_can_make_no_other(realtime_server, command):
    """Which is told as a mistake, without the token."""
    token = mint("tr_dev_x", {"sub": "env", "pub": True, "scopes": ["read:runs"]}, 0, 2**40)
    end = ended(command("public-token", "--read-run", "run_1", "--token", token))
    assert (end.code, end.out) == (64, "")
    assert token not in end.err
