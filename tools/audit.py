"""`python -m tools.audit`: whether anything in constraints.txt has a known hole, as pip-audit finds it.

Ends with 1 where there is one. The database is on the network: what cannot be asked about is named, never passed over.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

PINNED: Final = Path(__file__).resolve().parent.parent / "constraints.txt"
_COMMAND: Final = ("pip-audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "-r")
_OFFLINE: Final = re.compile(r"connect|resolve|timed out|redirecting|network|unreachable", re.IGNORECASE)
_LEFT_OUT: Final = "pip-audit: left out, its database could not be asked"


def main(patience: float = 180.0) -> int:
    """`patience` in seconds."""
    try:
        asked = subprocess.run([*_COMMAND, str(PINNED)], capture_output=True, text=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        print(f"{_LEFT_OUT} in time")
        return 0
    try:
        found: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        if asked.returncode and _OFFLINE.search(asked.stderr):
            print(_LEFT_OUT)
            return 0
        print(f"pip-audit gave no answer that can be read:\n{asked.stderr[-2000:]}")
        return 1
    holes = [f"{one['name']} {one['version']}: {_named(hole)}" for one in found for hole in one.get("vulns", ())]
    skipped = [str(one["name"]) for one in found if "skip_reason" in one]
    if holes:
        print("pip-audit: known holes", *holes, sep="\n")
        return 1
    if len(skipped) == len(found):
        print(_LEFT_OUT)
        return 0
    unknown = f"; nothing is known of {', '.join(skipped)}" if skipped else ""
    print(f"pip-audit: no known holes in {len(found) - len(skipped)} packages{unknown}")
    return 0


def _named(hole: dict[str, Any]) -> str:
    fixed = ", ".join(hole.get("fix_versions", ())) or "nowhere yet"
    return f"{hole['id']} (mended in {fixed})"


if __name__ == "__main__":
    sys.exit(main())
