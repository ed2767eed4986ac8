from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from studio.engine import EngineOptions, Event, Failed, Finished, Preview, Progress, State
from studio.errors import StudioError
from studio.pose import Pose
from studio.request import ControlUnit
from studio.worker import ProcessEngine
from tests.resolved import drawn, failed, resolved

FAKE = "tests.fake_drawer:FakeDrawer"
OPTIONS = EngineOptions(Path("nowhere"), hang_after=6.0)
#: Long enough for a slow, busy machine; every wait below ends as soon as it can.
PATIENCE = 60.0


@pytest.fixture(scope="module")
def engine() -> Iterator[ProcessEngine]:
    engine = ProcessEngine(OPTIONS, build=FAKE, silence=3.0)
    yield engine
    engine.close()


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ready(engine: ProcessEngine) -> int:
    until(lambda: engine.status.state is State.READY and engine.pid is not None)
    assert engine.pid is not None
    return engine.pid


def test_events_arrive_in_order_and_end_with_the_picture(engine: ProcessEngine) -> None:
    events = list(engine.generate(resolved(steps=4)))
    assert isinstance(events[-1], Finished)
    assert [event.step for event in events if isinstance(event, Preview)] == [1, 2, 3, 4]
    assert sum(isinstance(event, Finished | Failed) for event in events) == 1


def test_the_request_comes_back_with_its_picture(engine: ProcessEngine) -> None:
    request = resolved("émigré 🎨 \u202eright to left", seed=2**64 - 1)
    assert drawn(engine, request).request == request


def test_a_failed_picture_does_not_disturb_the_next(engine: ProcessEngine) -> None:
    pid = ready(engine)
    assert failed(engine, resolved("refuse")) == Failed("Not this one.")
    assert drawn(engine, resolved(seed=7)).rgb[0] == 7
    assert engine.pid == pid


def test_closing_cancels_and_the_next_picture_carries_nothing_of_it(engine: ProcessEngine) -> None:
    pid = ready(engine)
    for seed in range(5):
        cancelled = engine.generate(resolved(steps=150, seed=200))
        assert isinstance(next(cancelled), Progress)
        cancelled.close()
        events = list(engine.generate(resolved(steps=3, seed=seed)))
        assert isinstance(events[-1], Finished)
        assert events[-1].result.rgb[0] == seed
        assert all(event.steps in (0, 3) for event in events if isinstance(event, Progress))
    assert engine.pid == pid


def test_silence_is_filled_so_that_a_consumer_can_stop(engine: ProcessEngine) -> None:
    ready(engine)
    stalled = engine.generate(resolved("stall"))
    began = time.monotonic()
    events = [next(stalled) for _ in range(6)]
    assert time.monotonic() - began < 1.4
    assert events[-1] == Progress("Drawing", 0, 6)
    began = time.monotonic()
    stalled.close()
    assert time.monotonic() - began < 0.2


def test_a_killed_engine_fails_its_picture_and_is_back_within_ten_seconds(engine: ProcessEngine) -> None:
    pid = ready(engine)
    events: list[Event] = []
    for event in engine.generate(resolved(steps=150)):
        if isinstance(event, Preview) and event.step == 3:
            os.kill(pid, signal.SIGKILL)
        events.append(event)
    assert events[-1] == Failed("The engine stopped unexpectedly.", crashed=True)
    began = time.monotonic()
    assert ready(engine) != pid
    assert time.monotonic() - began < 10
    assert drawn(engine, resolved(seed=3)).rgb[0] == 3


def test_an_idle_engine_that_is_killed_comes_back(engine: ProcessEngine) -> None:
    pid = ready(engine)
    os.kill(pid, signal.SIGKILL)
    until(lambda: engine.pid not in (pid, None))
    assert drawn(engine, resolved(seed=4)).rgb[0] == 4


def test_an_engine_that_kills_itself_fails_its_picture(engine: ProcessEngine) -> None:
    assert failed(engine, resolved("die")).crashed
    assert drawn(engine, resolved(seed=5)).rgb[0] == 5


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP on this system")
def test_a_frozen_engine_is_noticed_by_its_silence_and_replaced(engine: ProcessEngine) -> None:
    pid = ready(engine)
    began = time.monotonic()
    assert failed(engine, resolved("freeze")) == Failed("The engine stopped answering.", crashed=True)
    assert time.monotonic() - began < 5.9
    assert ready(engine) != pid
    assert not alive(pid)


def test_a_picture_without_progress_is_given_up(engine: ProcessEngine) -> None:
    pid = ready(engine)
    assert failed(engine, resolved("stall")) == Failed("The engine made no progress for 6 seconds.", crashed=True)
    assert ready(engine) != pid


def test_a_cancelled_picture_that_never_leaves_is_not_waited_for(engine: ProcessEngine) -> None:
    pid = ready(engine)
    stuck = engine.generate(resolved("freeze"))
    next(stuck)
    stuck.close()
    until(lambda: engine.pid not in (pid, None))
    assert drawn(engine, resolved(seed=6)).rgb[0] == 6


def test_a_bug_inside_the_engine_is_told_and_its_process_replaced(engine: ProcessEngine) -> None:
    pid = ready(engine)
    assert failed(engine, resolved("break")) == Failed(
        "The engine broke while drawing (RuntimeError); it restarts.", crashed=True
    )
    until(lambda: engine.pid not in (pid, None))
    assert drawn(engine, resolved(seed=8)).rgb[0] == 8


def test_only_one_picture_at_a_time(engine: ProcessEngine) -> None:
    first = engine.generate(resolved("stall"))
    next(first)
    with pytest.raises(AssertionError, match="one picture at a time"):
        next(engine.generate(resolved()))
    first.close()
    assert drawn(engine, resolved(seed=9)).rgb[0] == 9


def test_ctrl_c_in_the_terminal_leaves_the_engine_to_the_studio(engine: ProcessEngine) -> None:
    pid = ready(engine)
    os.kill(pid, signal.SIGINT)
    assert drawn(engine, resolved()).device == f"pid {pid}"


def test_an_engine_that_cannot_be_built_says_why() -> None:
    engine = ProcessEngine(EngineOptions(Path("nowhere"), device="none"), build=FAKE)
    try:
        assert failed(engine, resolved()) == Failed("PyTorch finds no none device here.")
        until(lambda: "no none device" in engine.status.detail)
    finally:
        engine.close()
    assert engine.status.state is State.STOPPED


def test_an_engine_that_dies_again_and_again_is_started_less_and_less_often() -> None:
    engine = ProcessEngine(EngineOptions(Path("nowhere"), device="doomed"), build=FAKE)
    try:
        assert failed(engine, resolved()) == Failed("The engine stopped unexpectedly.")
        until(lambda: "Starting it again in 2 s." in engine.status.detail)
    finally:
        began = time.monotonic()
        engine.close()
    assert time.monotonic() - began < 1.5


def test_closing_ends_the_process_and_fails_what_it_drew() -> None:
    engine = ProcessEngine(OPTIONS, build=FAKE)
    pid = ready(engine)
    events = engine.generate(resolved("stall"))
    next(events)
    threading.Timer(0.3, engine.close).start()
    assert list(events)[-1] == Failed("The studio is shutting down.")
    until(lambda: not alive(pid))


PARENT = """
import signal, sys, time
from pathlib import Path
from studio.engine import EngineOptions
from studio.worker import ProcessEngine
from tests.resolved import resolved
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs are born ignoring it
    engine = ProcessEngine(EngineOptions(Path(sys.argv[2])), build=sys.argv[1])
    events = engine.generate(resolved(sys.argv[3], steps=150))
    while engine.status.state not in ("ready", "busy"):
        next(events)
    try:
        print(engine.pid, flush=True)
        for event in events:
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        events.close()
        engine.close()
"""


def parent(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("prompt", ["stall", "a long one"])
def test_the_engine_ends_when_its_parent_is_killed(tmp_path: Path, prompt: str) -> None:
    with parent(tmp_path, FAKE, "nowhere", prompt) as studio:
        assert studio.stdout is not None
        pid = int(studio.stdout.readline())
        assert alive(pid)
        studio.kill()
        until(lambda: not alive(pid), 10)


def test_ctrl_c_prints_nothing_from_the_engine(tmp_path: Path) -> None:
    with parent(tmp_path, FAKE, "nowhere", "stall") as studio:
        assert studio.stdout is not None
        pid = int(studio.stdout.readline())
        os.killpg(studio.pid, signal.SIGINT)
        _, errors = studio.communicate(timeout=PATIENCE)
        assert errors == ""
        until(lambda: not alive(pid), 10)


def held(engine: ProcessEngine) -> dict[str, bool]:
    """Model → pinned."""
    return {model.key: model.pinned for model in engine.status.memory.models}


def test_wishes_about_models_reach_the_engine_and_its_memory_is_told(engine: ProcessEngine) -> None:
    ready(engine)
    engine.prepare("xl")
    until(lambda: held(engine) == {"xl": False})
    assert engine.status.memory.host_budget == 10**9
    assert engine.status.mode == "whole"
    engine.prepare("broken")
    engine.prepare(None)
    engine.pin("xl", True)
    until(lambda: held(engine) == {"xl": True})
    engine.unload("xl")
    until(lambda: held(engine) == {})


def test_what_is_pinned_stays_so_when_the_engine_has_to_be_started_again(engine: ProcessEngine) -> None:
    pid = ready(engine)
    engine.pin("xl", True)
    until(lambda: held(engine) == {"xl": True})
    os.kill(pid, signal.SIGKILL)
    until(lambda: engine.pid not in (None, pid) and held(engine) == {"xl": True})
    engine.unload("xl")
    until(lambda: held(engine) == {})


def test_maps_and_poses_are_made_beside_a_picture(engine: ProcessEngine) -> None:
    ready(engine)
    assert engine.trace(ControlUnit(), 96, 64) == b"96x64"
    drawing = engine.generate(resolved(steps=4))
    next(drawing)
    assert engine.trace(ControlUnit(annotator="slow"), 64, 64) == b"64x64"
    assert engine.find_people(bytes(80)) == Pose(people=(), width=80, height=64)
    assert isinstance(list(drawing)[-1], Finished)


@pytest.mark.parametrize(("annotator", "sentence"), [("refused", "not like this"), ("broken", "No map could be made")])
def test_why_there_is_no_map_or_pose_is_told_and_the_engine_lives_on(
    engine: ProcessEngine, annotator: str, sentence: str
) -> None:
    pid = ready(engine)
    with pytest.raises(StudioError, match=sentence):
        engine.trace(ControlUnit(annotator=annotator), 64, 64)
    with pytest.raises(StudioError, match="nobody there" if annotator == "refused" else "No pose could be found"):
        engine.find_people(b"" if annotator == "refused" else bytes(9))
    assert engine.trace(ControlUnit(), 64, 64) == b"64x64"
    assert engine.pid == pid


def test_an_engine_that_dies_fails_the_map_that_was_asked_of_it(engine: ProcessEngine) -> None:
    pid = ready(engine)
    with pytest.raises(StudioError, match="Ask for it again"):
        engine.trace(ControlUnit(annotator="deadly"), 64, 64)
    assert engine.trace(ControlUnit(), 64, 64) == b"64x64"
    assert engine.pid != pid
