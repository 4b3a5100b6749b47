"""`completion`: the shells complete commands, kinds and options."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .conftest import ended

# Prints what each shell would offer for the words that stand in its arguments.
BASH = """\
eval "$script"
function=$(complete -p trigger-realtime | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
"$function"
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = 'echo $script | source; complete -C "$argv"'
ASKED = {"bash": ["bash", "-c", BASH, "bash"], "fish": ["fish", "-c", FISH]}

WITHOUT_SHTAB = (
    "-c",
    "import sys; sys.modules['shtab'] = None\n"
    "from trigger_realtime_sync.cli import main; sys.exit(main())",
)


@pytest.mark.parametrize("shell", ASKED)
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["wat"], ["watch"]),
        (["watch", ""], ["batch", "run", "tag"]),
        (["stream", "run_1", "--from"], ["--from-latest"]),
        (["wait", "run_1", "--time"], ["--timeout"]),
        (["token", ""], ["complete", "create", "list", "show"]),
        (["public-token", "--read-t"], ["--read-tag", "--read-task"]),
    ],
    ids=" ".join,
)
def test_a_shell_offers_what_may_follow(command, environment, shell, words, offered):
    """As bash and fish run the script that is printed for them."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = ended(command("completion", shell)).out
    said = subprocess.run(
        [*ASKED[shell], "trigger-realtime", *words],
        env={**environment, "script": script},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.stderr == ""
    assert sorted(line.split("\t")[0].strip() for line in said.stdout.splitlines()) == offered


def test_zsh_takes_the_script(command, environment):
    """It defines a completion for the command."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    script = ended(command("completion", "zsh")).out
    code = 'autoload -U compinit; compinit -u -D; eval "$script"; echo ${_comps[trigger-realtime]}'
    said = subprocess.run(
        ["zsh", "-f", "-c", code],
        env={**environment, "script": script},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (said.stdout.strip() != "", said.stderr) == (True, "")


def test_without_the_extra_it_is_named(command):
    """69, and what to install."""
    end = ended(command("completion", "bash", python=WITHOUT_SHTAB))
    assert (end.code, end.out) == (69, "")
    assert "trigger-realtime-sync[completion]" in end.err
