"""What the documentation says is so: its links lead somewhere, its flags exist, its example runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from studio.presets import Presets
from studio.samplers import SAMPLERS
from studio.settings import PRESETS, Settings
from tests.running import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "assets").rglob("*.md")]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_flag_of_the_readme_is_one() -> None:
    known = {f"--{(field.alias or name).replace('_', '-')}" for name, field in Settings.model_fields.items()} | {
        "--help"
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known


def test_the_change_log_counts_right() -> None:
    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"{len(SAMPLERS)} samplers" in log
    assert f"{len(Presets(PRESETS).styles())} style presets" in log


def test_the_readme_s_example_draws_two_pictures(tmp_path: Path) -> None:
    example = re.search(r"^echo '(.+)' \| python (app\.py .+) --out pictures$", README, re.MULTILINE)
    assert example
    command = [sys.executable, *example[2].split(), "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, input=example[1], capture_output=True, text=True, timeout=600, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["seed"] for line in lines] == [7, 8]
    assert all(Path(line["path"]).is_file() for line in lines)


def test_the_two_commands_of_the_readme_are_those_of_the_checks() -> None:
    assert "pip install -r requirements.txt && python app.py" in README
    assert "pip install -r requirements-dev.txt && python -m pytest" in README
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert 'pip" install --quiet --disable-pip-version-check -r requirements-dev.txt' in ci
    assert re.search(r"^python -m pytest$", ci, re.MULTILINE)
