"""`python -m benchmarks [--repeats N] [engine|web|gallery …]` → JSON on stdout, the table in docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Figure, machine

TABLE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def suites(repeats: int) -> dict[str, Callable[[], Iterator[Figure]]]:
    import benchmarks.engine  # each suite brings its own heavy libraries
    import benchmarks.gallery
    import benchmarks.web

    return {
        "engine": lambda: benchmarks.engine.figures(repeats),
        "web": benchmarks.web.figures,
        "gallery": benchmarks.gallery.figures,
    }


def table(figures: list[Figure], where: dict[str, object]) -> str:
    rows = [
        "# Performance",
        "",
        f"`python -m benchmarks`, {datetime.now(UTC):%Y-%m-%d}, on "
        + ", ".join(f"{name} {value}" for name, value in where.items())
        + ".",
        "Ratios are medians of interleaved pairs in one run; a ratio counts only when both arms drew the same picture.",
        "",
        "| figure | value | bar | holds | |",
        "|---|---|---|---|---|",
    ]
    for figure in figures:
        holds = {True: "yes", False: "**no**", None: ""}[figure.holds]
        rows.append(
            f"| {figure.name} | {figure.value:g} {figure.unit} | {figure.bar or ''} | {holds} | {figure.note} |"
        )
    return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suite", nargs="*", help="engine, web, gallery; all of them by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-table", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    available = suites(options.repeats)
    if unknown := set(options.suite) - set(available):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    where = machine()
    figures = []
    for name in options.suite or available:
        for figure in available[name]():
            print(f"{figure.name}: {figure.value:g} {figure.unit} {figure.bar or ''} {figure.note}", file=sys.stderr)
            figures.append(figure)
    print(json.dumps({"machine": where, "figures": [figure.as_json() for figure in figures]}, indent=2))
    if not options.no_table and not options.suite:
        TABLE.write_text(table(figures, where), encoding="utf-8")
    return int(any(figure.holds is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
