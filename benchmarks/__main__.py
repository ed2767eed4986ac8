"""`python -m benchmarks [--repeats N] [engine|models|lora …]` → docs/performance.json and its table, performance.md.

Suites that are not run keep the figures of their last run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, machine

JSON = Path(__file__).resolve().parent.parent / "docs" / "performance.json"
TABLE = JSON.with_suffix(".md")


def suites(repeats: int) -> dict[str, Callable[[], Iterator[Figure]]]:
    import benchmarks.engine  # each suite brings its own heavy libraries
    import benchmarks.gallery
    import benchmarks.lora
    import benchmarks.models
    import benchmarks.web

    return {
        "engine": lambda: benchmarks.engine.figures(repeats),
        "models": lambda: benchmarks.models.figures(repeats),
        "lora": lambda: benchmarks.lora.figures(repeats),
        "web": benchmarks.web.figures,
        "gallery": benchmarks.gallery.figures,
    }


def table(runs: dict[str, Any]) -> str:
    lines = [
        "# Performance",
        "",
        "`python -m benchmarks` writes this page from [performance.json](performance.json). Ratios are medians of",
        "interleaved pairs in one run; a ratio counts only when both arms drew the same picture.",
    ]
    for name, run in runs.items():
        where = ", ".join(f"{key} {value}" for key, value in run["machine"].items())
        lines += ["", f"## {name}", "", f"{run['date']}; {where}.", "", "| figure | value | bar | holds | |"]
        lines.append("|---|---|---|---|---|")
        for figure in run["figures"]:
            holds = {True: "yes", False: "**no**", None: ""}[figure["holds"]]
            value = f"{figure['value']:g} {figure['unit']}".strip()
            lines.append(f"| {figure['name']} | {value} | {figure['bar'] or ''} | {holds} | {figure['note']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suite", nargs="*", help="engine, models, lora, web, gallery; all of them by default")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    available = suites(options.repeats)
    if unknown := set(options.suite) - set(available):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    held = True
    for name in options.suite or available:
        figures: list[Figure] = []
        where = machine()
        for figure in available[name]():
            print(f"{figure.name}: {figure.value:g} {figure.unit} {figure.bar or ''} {figure.note}", flush=True)
            figures.append(figure)
        held &= all(figure.holds is not False for figure in figures)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        # Read again: another suite may have been run meanwhile.
        runs: dict[str, Any] = json.loads(JSON.read_text("utf-8")) if JSON.exists() else {}
        runs[name] = {"date": today, "machine": where, "figures": [figure.as_json() for figure in figures]}
        JSON.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        TABLE.write_text(table(runs), encoding="utf-8")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
