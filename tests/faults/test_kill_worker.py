"""The engine's process is killed at random moments, fifty times in one life of the studio."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from studio.engine import EngineOptions, Failed, Finished, State
from studio.worker import ProcessEngine
from tests.resolved import resolved

REQUEST = resolved(steps=8, seed=5)


def kill_soon(engine: ProcessEngine, delay: float) -> threading.Timer:
    def kill() -> None:
        if engine.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(engine.pid, signal.SIGKILL)

    timer = threading.Timer(delay, kill)
    timer.start()
    return timer


@pytest.mark.slow
def test_fifty_kills_are_each_a_reason_or_a_picture_and_the_engine_is_back_in_time(tmp_path: Path) -> None:
    chance = random.Random(50)
    engine = ProcessEngine(EngineOptions(embedded=tmp_path), build="tests.fake_drawer:FakeDrawer")
    ends = Counter[str]()
    try:
        whole = next(event.result.rgb for event in engine.generate(REQUEST) if isinstance(event, Finished))
        for _ in range(50):
            killer = kill_soon(engine, chance.uniform(0, 0.4))
            *_, last = engine.generate(REQUEST)
            ends[type(last).__name__] += 1
            assert isinstance(last, Finished) or (isinstance(last, Failed) and last.crashed and last.reason)
            killer.join()
            began = time.monotonic()
            while engine.status.state is not State.READY:
                assert time.monotonic() - began < 10, engine.status
                time.sleep(0.02)
        again = next(event.result.rgb for event in engine.generate(REQUEST) if isinstance(event, Finished))
    finally:
        engine.close()
    assert again == whole
    assert ends["Failed"] > 10, ends
