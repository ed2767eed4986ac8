"""A Chromium for tests and screenshots: the system's, Playwright's own, or one that is installed now. Never none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import Playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_or_install(playwright: Playwright) -> str:
    """The path of a Chromium.

    Raises:
        CalledProcessError: there is none and none can be installed.
    """
    if found := _installed(playwright):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "chromium"], check=True, capture_output=True)
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    found = _installed(playwright)
    assert found, "a browser was installed but cannot be found"
    return found


def _installed(playwright: Playwright) -> str | None:
    own = playwright.chromium.executable_path
    system = (path for name in _NAMES if (path := shutil.which(name)))
    return next(system, own if Path(own).exists() else None)
