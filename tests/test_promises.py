"""What `SECURITY.md` and `docs/reliability.md` say of tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/reliability.md"])
def test_the_tests_that_are_named_exist(document):
    """A promise whose test was renamed or removed is found out."""
    root = Path(__file__).parents[1]
    sources = [path for path in root.glob("tests/**/*.py") if "node_modules" not in path.parts]
    existing = {path.stem for path in sources}
    for path in sources:
        existing.update(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    named = re.findall(r"\b(test_\w+?)(_…|\b)", (root / document).read_text(encoding="utf-8"))
    assert len(named) > 20
    for name, open_end in named:
        assert any(one == name or (open_end and one.startswith(name)) for one in existing), name
