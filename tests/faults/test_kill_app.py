"""The whole studio is killed at random moments, as by a power cut, and started again on the same folder."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.running import Studio, running

JOB = {"prompt": "a red boat on the sea", "width": 64, "height": 64, "steps": 6}


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_no_accepted_job_is_lost_and_no_picture_is_torn(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    accepted: dict[str, int] = {}
    for _ in range(kills):
        studio = Studio(tmp_path)
        for _ in range(chance.randint(1, 2)):
            count = chance.randint(1, 3)
            accepted[studio.submit(**JOB, count=count)] = count
        # The engine needs seconds to load: the moments reach from before its first step to after its last picture.
        if chance.random() < 0.7:
            studio.wait(chance.choice(list(accepted)), "running", "done", "failed")
        time.sleep(chance.uniform(0, 1.5))
        studio.kill()
        assert_whole(tmp_path)

    with running(tmp_path) as studio:
        ends = Counter[str]()
        for job, count in accepted.items():
            ticket = studio.wait(job)
            ends[ticket["state"]] += 1
            if ticket["state"] == "done":
                assert len(set(ticket["pictures"])) == count
                assert all(studio.picture(picture).startswith(b"\x89PNG") for picture in ticket["pictures"])
            else:
                assert ticket["state"] == "failed"
                assert ticket["reason"]
        assert ends["done"] > 0
    assert_whole(tmp_path)


def assert_whole(data: Path) -> None:
    for file in (data / "pictures").rglob("*.png"):
        with Image.open(file) as picture:
            picture.load()
            assert "pochade" in picture.info
