"""The queue and the gallery in a process of their own, which is killed at random moments."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from studio.gallery import Gallery
from studio.job_store import JobState, Ticket
from studio.jobs import Jobs
from studio.request import GenerationRequest
from tests.fakes import ENDED, FakeEngine, gradient, resolve, until

ROOT = Path(__file__).resolve().parent.parent
FILENAME = "{number:05d}-{seed}"


def open_jobs(folder: Path, gallery: Gallery) -> Jobs:
    return Jobs(
        folder / "jobs.sqlite3",
        FakeEngine(step_seconds=0.004),
        resolve,
        lambda result, job, index, owner: gallery.add(result, job=job, index=index, owner=owner).id,
        turn_seconds=0.03,  # so that jobs also give way to each other when they are killed
    )


def submit_until_killed(folder: Path, seed: int) -> None:
    """The process to be killed: tells of every accepted job in one line, after `submit` has returned."""
    chance = random.Random(seed)
    gallery = Gallery(folder, FILENAME)
    gallery.reconcile()
    jobs = open_jobs(folder, gallery)
    while True:
        request = GenerationRequest(prompt="x", count=chance.randint(1, 4), seed=chance.randrange(2**32))
        ticket = jobs.submit(request, chance.choice(["ann", "bob", "eve"]))
        sys.stdout.write(f"{ticket.id} {request.count} {request.seed}\n")
        sys.stdout.flush()
        time.sleep(chance.uniform(0.05, 0.2))


@pytest.mark.parametrize("kills", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_no_accepted_job_is_lost_by_killing_the_process(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    accepted: dict[str, tuple[int, int]] = {}
    for number in range(kills):
        command = [sys.executable, "-m", "tests.test_jobs_crash", str(tmp_path), str(number)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            time.sleep(chance.uniform(0, 0.5))
            process.kill()
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith("\n"):  # the last one may have been cut; then the job may or may not be there
                job, count, seed = line.split()
                accepted[job] = int(count), int(seed)
        for path in (tmp_path / "pictures").rglob("*.png"):
            with Image.open(path) as whole:
                whole.load()
    assert len(accepted) >= kills

    with closing(Gallery(tmp_path, FILENAME)) as gallery:
        gallery.reconcile()
        with closing(open_jobs(tmp_path, gallery)) as jobs:
            until(lambda: all(jobs.ticket(job).state in ENDED for job in accepted), 240)
            tickets = [jobs.ticket(job) for job in accepted]
        for ticket in tickets:
            if ticket.state is JobState.FAILED:
                assert ticket.reason == "The studio stopped twice while it drew this picture."
            else:
                assert_complete(ticket, gallery, *accepted[ticket.id])
    ends = Counter(ticket.state for ticket in tickets)
    assert ends[JobState.DONE] > len(accepted) / 2, ends


def assert_complete(ticket: Ticket, gallery: Gallery, count: int, seed: int) -> None:
    assert ticket.state is JobState.DONE
    assert len(ticket.pictures) == count
    for index, picture in enumerate(ticket.pictures):
        assert gallery.record(picture).index == index
        with Image.open(gallery.path(picture)) as file:
            assert file.tobytes() == gradient(seed + index, 64, 64)
    assert len(gallery.of_job(ticket.id)) == count, "nothing was kept twice"


if __name__ == "__main__":
    submit_until_killed(Path(sys.argv[1]), int(sys.argv[2]))
