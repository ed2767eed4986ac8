"""Fifty people at one studio that really draws: nothing lost, nothing mixed up, nobody kept waiting by the others.

`POCHADE_LOAD_SECONDS` says for how long; ten minutes before a release. How fast answers came is printed, not judged:
that depends on the machine.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.running import running, until

SECONDS = float(os.environ.get("POCHADE_LOAD_SECONDS", "60"))
PEOPLE = 50


@dataclass
class Guest:
    """One browser that looks, draws, changes its mind and drops its connection, as its dice say."""

    number: int
    address: str
    key: str
    jobs: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def live(self, until_when: float) -> None:
        dice = random.Random(self.number)
        self.client = httpx.Client(base_url=self.address, timeout=60)
        assert self.client.post("/studio/enter", data={"key": self.key}).status_code == 303
        while time.monotonic() < until_when:
            try:
                self._do(dice)
            except httpx.HTTPError as fault:
                self.faults.append(repr(fault))
            time.sleep(dice.uniform(0.05, 0.5))

    def _do(self, dice: random.Random) -> None:
        what = dice.random()
        if what < 0.2:
            wish = {"prompt": f"guest {self.number}", "width": 64, "height": 64, "steps": 2, "seed": self.number}
            answer = self._ask("POST", "/studio/jobs", json=wish)
            if answer.status_code == 202:
                self.jobs.append(answer.json()["id"])
        elif what < 0.3 and self.jobs:
            self._ask("POST", f"/studio/jobs/{dice.choice(self.jobs)}/cancel")
        elif what < 0.4:
            with self.client.stream("GET", "/studio/events") as events:
                next(events.iter_lines())  # and away
        else:
            self._ask(
                "GET", dice.choice(("/studio/pictures", "/studio/facets", "/studio/me", "/studio/status", "/config"))
            )

    def _ask(self, method: str, path: str, **more: object) -> httpx.Response:
        began = time.perf_counter()
        answer = self.client.request(method, path, **more)  # type: ignore[arg-type]
        self.seconds.append(time.perf_counter() - began)
        self.statuses[answer.status_code] += 1
        return answer


@pytest.mark.slow
def test_fifty_people_lose_nothing_and_see_only_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path, "--sign-in", "on") as studio:
        home, _, owners_key = studio.address.partition("/?key=")
        owner = httpx.Client(base_url=home, timeout=60)
        owner.post("/studio/enter", data={"key": owners_key})
        invited = owner.post("/studio/invitations", json={"name": "Fair", "group": True, "browsers": None}).json()
        key = invited["link"].partition("key=")[2]
        guests = [Guest(number, home, key) for number in range(PEOPLE)]
        end = time.monotonic() + SECONDS
        threads = [threading.Thread(target=guest.live, args=(end,)) for guest in guests]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 2)
        web = psutil.Process(studio.process.pid)
        halfway = web.memory_info().rss
        for thread in threads:
            thread.join()
        grown = web.memory_info().rss / halfway
        # Whoever still waits is cancelled by the owner; every accepted job must have an end then.
        owner.post("/studio/queue/clear", json={})
        until(lambda: owner.get("/studio/queue").json()["running"] is None or None)
        states: Counter[str] = Counter()
        for guest in guests:
            assert guest.faults == []
            assert set(guest.statuses) <= {200, 202, 429}
            for job in guest.jobs:
                ticket = guest.client.get(f"/studio/jobs/{job}").json()
                states[ticket["state"]] += 1
                assert ticket["request"]["prompt"] == f"guest {guest.number}"
                assert (ticket["state"] == "done") <= (len(ticket["pictures"]) == 1)
            mine = guest.client.get("/studio/pictures", params={"limit": 200}).json()["items"]
            assert {item["prompt"] for item in mine} <= {f"guest {guest.number}"}
            assert {item["job"] for item in mine} <= set(guest.jobs)
            others = guests[guest.number - 1].jobs
            assert not others or guest.client.get(f"/studio/jobs/{others[0]}").status_code == 404
            guest.client.close()
        owner.close()
    seconds = sorted(second for guest in guests for second in guest.seconds)
    p99 = statistics.quantiles(seconds, n=100)[98]
    with capsys.disabled():
        print(f"\n{len(seconds)} answers, p99 {p99 * 1000:.0f} ms; {dict(states)}; memory × {grown:.3f}")  # noqa: T201
    assert states["done"], "it draws meanwhile"
    assert not states["failed"]
    assert grown < 1.1
