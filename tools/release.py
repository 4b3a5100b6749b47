"""Builds, checks and tags a release, and publishes nothing: `python tools/release.py 1.2.3`.

Stops at the first thing that is not right. Nothing is committed or tagged before all was checked.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import urllib.request
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION_FILE = ROOT / "trigger_realtime_sync" / "_version.py"
CHANGELOG = ROOT / "CHANGELOG.md"
DIST = ROOT / "dist"


def main() -> int:
    """Make the release that the arguments name, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", help="such as 1.2.3")
    version = parser.parse_args().version
    if problem := why_not(version):
        print(f"no release: {problem}", file=sys.stderr)
        return 1
    if lost := lost_links():
        print("no release: these links of the package page lead nowhere:", *lost, sep="\n  ")
        return 1
    VERSION_FILE.write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", version)
    run("bash", ".ci/run")
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", str(DIST))
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir()))
    run("git", "add", "--all", "CHANGELOG.md", "changelog.d", str(VERSION_FILE))
    run("git", "commit", "--quiet", "--message", f"Release {version}")
    run("git", "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    print(f"v{version} is tagged, and its files are in dist/. Nothing was published.")
    return 0


def why_not(version: str) -> str | None:
    """Return what keeps this version from being released now, or None."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return f"{version!r} is no version such as 1.2.3"
    if output("git", "status", "--porcelain"):
        return "there are changes that are not committed"
    if output("git", "tag", "--list", f"v{version}"):
        return f"v{version} is tagged already"
    if "\n## [Unreleased]" in CHANGELOG.read_text(encoding="utf-8"):
        return "what stands under Unreleased in CHANGELOG.md has to be moved into fragments by hand"
    if not [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]:
        return "changelog.d says of no change"
    return None


def lost_links() -> list[str]:
    """Return the links of the README to the published repository that do not answer."""
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    metadata = setup["metadata"]
    text = (ROOT / "README.md").read_text(encoding="utf-8") + metadata["project_urls"]
    links = re.findall(re.escape(metadata["url"]) + r"[^\s)#]*", text)
    return [url for url in dict.fromkeys(links) if not answers(url)]


def answers(url: str) -> bool:
    """Return whether there is a page at this address."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except OSError:
        return False


def run(*command: str) -> None:
    """Run a command in the project's folder; a failure ends the release."""
    subprocess.run(command, cwd=ROOT, check=True)


def output(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main())
