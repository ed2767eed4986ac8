"""The public link with a stand-in for the helper program: what it says, how it dies, whether it is the right one."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio import networking, tunneling

from studio.errors import StudioError
from studio.ui.share import PublicLink
from tests.fakes import until

HELPER = """#!{python}
import pathlib, sys, time
count = pathlib.Path(__file__).with_suffix(".count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
if number in {fails}:
    print("login to server failed", flush=True)
    sys.exit(1)
print(f"start proxy success: https://link{{number}}.example", flush=True)
{then}
time.sleep(600)
"""


class Helper:
    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.file = folder / "helper"
        self.patch = patch
        patch.setattr(tunneling, "BINARY_PATH", str(self.file))
        patch.setattr(tunneling, "BINARY_URL", "https://helper.example")
        patch.setattr(networking, "GRADIO_SHARE_SERVER_ADDRESS", "127.0.0.1:9")
        self.write()

    def write(self, then: str = "", fails: tuple[int, ...] = ()) -> None:
        self.file.write_text(HELPER.format(python=sys.executable, then=then, fails=fails))
        self.file.chmod(0o700)
        digest = hashlib.sha256(self.file.read_bytes()).hexdigest()
        self.patch.setitem(tunneling.CHECKSUMS, "https://helper.example", digest)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    return Helper(tmp_path, monkeypatch)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def link(told: list[str]) -> Iterator[PublicLink]:
    made = PublicLink(1, lambda one: told.append(f"+{one}"), lambda one: told.append(f"-{one}"), soon=0.05)
    yield made
    made.close()


def test_a_lost_tunnel_is_noticed_and_another_opened(helper: Helper, link: PublicLink, told: list[str]) -> None:
    helper.write(fails=(2,))
    link.open()
    assert told == ["+https://link1.example"]
    assert link._helper is not None
    os.kill(link._helper.pid, signal.SIGKILL)
    until(lambda: len(told) == 3)
    assert told == ["+https://link1.example", "-https://link1.example", "+https://link3.example"]


def test_a_helper_that_comes_back_under_another_name_is_heard(
    helper: Helper, link: PublicLink, told: list[str]
) -> None:
    helper.write(then='time.sleep(0.3); print("start proxy success: https://other.example", flush=True)')
    link.open()
    until(lambda: len(told) == 3)
    assert told[1:] == ["-https://link1.example", "+https://other.example"]


def test_a_talkative_helper_is_not_stopped_by_a_full_pipe(helper: Helper, link: PublicLink, told: list[str]) -> None:
    helper.write(then='print("x" * 2_000_000); print("start proxy success: https://other.example", flush=True)')
    link.open()
    until(lambda: "+https://other.example" in told)


def test_closing_ends_the_helper_and_opens_no_other(helper: Helper, link: PublicLink, told: list[str]) -> None:
    link.open()
    process = link._helper
    link.close()
    assert process is not None
    assert process.wait(timeout=10) != 0
    assert told == ["+https://link1.example"]


def test_a_helper_that_is_not_the_published_one_is_never_run(helper: Helper, link: PublicLink, told: list[str]) -> None:
    helper.file.write_text(helper.file.read_text() + "# changed\n")
    with pytest.raises(StudioError, match="No public link could be made"):
        link.open()
    assert told == []
    assert not helper.file.with_suffix(".count").exists()
    helper.patch.delitem(tunneling.CHECKSUMS, "https://helper.example")
    with pytest.raises(StudioError, match="No public link could be made"):
        link.open()


def test_offline_is_said_in_a_sentence(helper: Helper, link: PublicLink, monkeypatch: pytest.MonkeyPatch) -> None:
    helper.write(fails=(1, 2))
    monkeypatch.setattr(tunneling, "TUNNEL_TIMEOUT_SECONDS", 1)
    with pytest.raises(StudioError, match="the studio goes on at its local address"):
        link.open()
