"""The real engine in its own process: the same bits as in this one, whatever happens to the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from studio.diffusion.local import LocalEngine
from studio.engine import EngineOptions, Event, Failed, Finished, Preview, Progress, State
from studio.request import GenerationResult, ResolvedRequest
from studio.worker import ProcessEngine
from tests.resolved import resolved

ROOT = Path(__file__).parent.parent.parent
#: Long enough for a busy machine to import PyTorch.
PATIENCE = 120.0


@pytest.fixture(scope="module")
def worker(tiny: Path) -> Iterator[ProcessEngine]:
    worker = ProcessEngine(EngineOptions(tiny, device="cpu", threads=1))
    yield worker
    worker.close()


def ready(worker: ProcessEngine) -> int:
    began = time.monotonic()
    while worker.status.state is not State.READY:
        assert time.monotonic() - began < PATIENCE, worker.status
        time.sleep(0.02)
    assert worker.pid is not None
    return worker.pid


def replaced(worker: ProcessEngine, pid: int) -> float:
    """Seconds until another process has taken the place of `pid`."""
    began = time.monotonic()
    while worker.pid in (pid, None):
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.02)
    return time.monotonic() - began


def drawn(engine: LocalEngine | ProcessEngine, request: ResolvedRequest) -> GenerationResult:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, Finished), last
    return last.result


def test_the_default_model_is_warm_before_the_first_picture(worker: ProcessEngine) -> None:
    ready(worker)
    assert worker.status.model == "Mini"
    assert worker.status.device == "CPU"
    events = list(worker.generate(resolved(steps=5)))
    assert not any(isinstance(event, Progress) and event.stage.startswith("Loading") for event in events)
    assert any(isinstance(event, Preview) for event in events)


def test_a_picture_is_the_same_in_this_process_and_in_the_other(engine: LocalEngine, worker: ProcessEngine) -> None:
    for request in (resolved(seed=61), resolved(seed=62, sampler="Euler a", scheduler="Automatic", width=96)):
        here, there = drawn(engine, request), drawn(worker, request)
        assert there.rgb == here.rgb
        assert there.film == here.film
        assert there.model_digest == here.model_digest


def test_after_a_cancelled_and_a_failed_picture_it_is_still_the_same(
    engine: LocalEngine, worker: ProcessEngine
) -> None:
    pid = ready(worker)
    expected = drawn(engine, resolved(seed=71)).rgb
    for step in (0, 2, 5):
        cancelled = worker.generate(resolved(seed=72, steps=100))
        for event in cancelled:
            if isinstance(event, Progress) and event.steps and event.step >= step:
                break
        cancelled.close()
        assert drawn(worker, resolved(seed=71)).rgb == expected
    assert isinstance(list(worker.generate(resolved(model="gone")))[-1], Failed)
    assert drawn(worker, resolved(seed=71)).rgb == expected
    assert worker.pid == pid


def test_cancelling_takes_hold_within_a_step(worker: ProcessEngine) -> None:
    ready(worker)
    slow = resolved(seed=73, steps=150, width=256, height=256)
    cancelled = worker.generate(slow)
    for event in cancelled:
        if isinstance(event, Progress) and event.step == 2:
            break
    began = time.monotonic()
    cancelled.close()
    drawn(worker, resolved(steps=1))
    quick = time.monotonic() - began
    began = time.monotonic()
    drawn(worker, slow.model_copy(update={"steps": 15}))
    assert quick < 0.5 * (time.monotonic() - began)


def test_a_killed_worker_is_back_within_ten_seconds_and_draws_the_same(
    engine: LocalEngine, worker: ProcessEngine
) -> None:
    pid = ready(worker)
    expected = drawn(engine, resolved(seed=81)).rgb
    events: list[Event] = []
    for event in worker.generate(resolved(seed=82, steps=150)):
        if isinstance(event, Progress) and event.step == 4:
            os.kill(pid, signal.SIGKILL)
        events.append(event)
    assert events[-1] == Failed("The engine stopped unexpectedly.", crashed=True)
    assert replaced(worker, pid) < 10
    assert drawn(worker, resolved(seed=81)).rgb == expected


@pytest.mark.slow
def test_a_frozen_worker_is_replaced_within_ten_seconds_and_draws_the_same(
    engine: LocalEngine, worker: ProcessEngine
) -> None:
    pid = ready(worker)
    expected = drawn(engine, resolved(seed=91)).rgb
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert list(worker.generate(resolved(seed=92)))[-1] == Failed("The engine stopped answering.", crashed=True)
    replaced(worker, pid)
    assert time.monotonic() - began < 10
    assert not psutil.pid_exists(pid)
    assert drawn(worker, resolved(seed=91)).rgb == expected


PARENT = """
import json, sys
from pathlib import Path
from studio.engine import EngineOptions, Finished
from studio.worker import ProcessEngine
from tests.resolved import resolved

if __name__ == "__main__":
    worker = ProcessEngine(EngineOptions(Path(sys.argv[1]), device="cpu", threads=1))
    last = list(worker.generate(resolved()))[-1]
    heavy = [name for name in ("torch", "diffusers", "transformers", "controlnet_aux") if name in sys.modules]
    print(json.dumps({"pid": worker.pid, "drawn": isinstance(last, Finished), "heavy": heavy}), flush=True)
    for event in worker.generate(resolved(steps=150, width=512, height=512)):
        pass
"""


@pytest.mark.slow
def test_the_parent_loads_no_torch_and_takes_the_worker_with_it_when_killed(tmp_path: Path, tiny: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tiny)], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        told = json.loads(parent.stdout.readline())
        assert told["drawn"]
        assert told["heavy"] == []
        time.sleep(0.5)
        parent.kill()
    worker = psutil.Process(told["pid"]) if psutil.pid_exists(told["pid"]) else None
    began = time.monotonic()
    while worker is not None and worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - began < 10
        time.sleep(0.05)
