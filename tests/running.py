"""A real studio for tests: `python app.py` in a process of its own, on a free port, in its own data folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

ROOT: Final = Path(__file__).resolve().parent.parent
T = TypeVar("T")
PATIENCE: Final = 240.0  # seconds; a busy machine starts slowly


class Studio:
    """One `python app.py`. Its process group is killed as a power cut would, unless it is stopped first."""

    def __init__(self, data: Path, *flags: str) -> None:
        command = [sys.executable, "app.py", "--port", "0", "--data-dir", str(data), *flags]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        if found is None:
            _, errors = self.process.communicate(timeout=PATIENCE)
            raise RuntimeError(f"app.py printed {line!r} and {errors}")
        self.address = found[0]
        self.client = httpx.Client(base_url=self.address, timeout=PATIENCE)

    def submit(self, **request: object) -> str:
        answer = self.client.post("/studio/jobs", json=request)
        assert answer.status_code == 202, answer.text
        job: str = answer.json()["id"]
        return job

    def job(self, job: str) -> dict[str, Any]:
        answer = self.client.get(f"/studio/jobs/{job}")
        assert answer.status_code == 200, answer.text
        ticket: dict[str, Any] = answer.json()
        return ticket

    def wait(self, job: str, *states: str) -> dict[str, Any]:
        """The ticket once it is in one of `states` (any final one if none are given)."""
        wanted = states or ("done", "failed", "cancelled")
        return until(lambda: ticket if (ticket := self.job(job))["state"] in wanted else None)

    def picture(self, picture: str) -> bytes:
        answer = self.client.get(f"/studio/pictures/{picture}/file")
        assert answer.status_code == 200, answer.text
        return answer.content

    def kill(self) -> None:
        """As a power cut: the web process and, through its broken pipe, the engine's."""
        os.kill(self.process.pid, signal.SIGKILL)
        self._gone()

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """As Ctrl+C in the terminal does, or a service manager. Returns the exit code and what it printed as errors."""
        self.process.send_signal(how)
        return self._gone()

    def _gone(self) -> tuple[int, str]:
        self.client.close()
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors


@contextmanager
def running(data: Path, *flags: str) -> Iterator[Studio]:
    studio = Studio(data, *flags)
    try:
        yield studio
    finally:
        if studio.process.poll() is None:
            studio.stop()


def until(condition: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """The first result of `condition` that is not None."""
    end = time.monotonic() + patience
    while (result := condition()) is None:
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return result
