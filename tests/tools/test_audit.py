"""Known holes stop CI; that nobody could be asked about them does not, and is said."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tools import audit

CLEAN = {"name": "numpy", "version": "2.3.1", "vulns": []}
HOLE = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["1.1"]}]}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


def put(folder: Path, patch: pytest.MonkeyPatch, script: str) -> None:
    """A `pip-audit` on the path that does this."""
    stub = folder / "pip-audit"
    stub.write_text(
        f"#!{sys.executable}\nimport sys, time\nassert sys.argv[-1].endswith('constraints.txt')\n{script}\n"
    )
    stub.chmod(0o700)
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def answering(*found: object) -> str:
    """What pip-audit prints, and how it ends."""
    holes = int(HOLE in found)
    return f"print({json.dumps({'dependencies': found, 'fixes': []})!r}); sys.exit({holes})"


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (answering(CLEAN), 0, "no known holes in 1 packages"),
        (answering(CLEAN, HOLE), 1, "pillow 1.0: PYSEC-2026-1 (mended in 1.1)"),
        (answering(UNKNOWN, HOLE), 1, "PYSEC-2026-1"),
        (answering(CLEAN, UNKNOWN), 0, "nothing is known of ours"),
        (answering(UNKNOWN), 0, "left out"),
        ('sys.exit("ERROR: Could not connect to PyPI\'s vulnerability feed")', 0, "left out"),
        ("sys.exit('unrecognized arguments: --format')", 1, "unrecognized arguments"),
        ("print('{}')", 1, "no answer that can be read"),
        ("time.sleep(600)", 0, "in time"),
    ],
    ids=["clean", "hole", "hole among unknown", "one unknown", "all unknown", "offline", "usage", "nonsense", "silent"],
)
def test_a_known_hole_ends_with_one_and_everything_else_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    status: int,
    words: str,
) -> None:
    put(tmp_path, monkeypatch, script)
    assert audit.main(patience=2.0 if "sleep" in script else 120.0) == status
    assert words in capsys.readouterr().out


def test_ci_stops_at_a_hole() -> None:
    script = (audit.PINNED.parent / ".ci" / "run").read_text()
    assert script.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script
    assert "\npython -m tools.audit\n" in script, "on a line of its own, so that its end is the script's"
