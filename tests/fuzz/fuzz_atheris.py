"""Coverage-guided fuzzing of one parser, by hand; it needs `pip install atheris` (Linux).

    python tests/fuzz/fuzz_atheris.py run_feed -max_total_time=60

The target is a name of `TARGETS`; what follows goes to libFuzzer. It starts from what real servers
sent. An input that breaks a parser is written to a file of the current directory, and runs again
when it is named in place of the options.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]


def main() -> None:
    import atheris

    sys.path.insert(0, str(TESTS.parent))
    with atheris.instrument_imports(include=["trigger_realtime_sync", "sseclient"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.seeds import seeds

    names = ", ".join(TARGETS)
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz_atheris.py TARGET [options of libFuzzer]; targets: {names}")
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            Path(corpus, str(number)).write_bytes(seed)
        files = [option for option in options if not option.startswith("-")]
        arguments = [sys.argv[0], *options, *([] if files else [corpus])]
        atheris.Setup([*arguments, "-timeout=10", "-rss_limit_mb=1024"], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
