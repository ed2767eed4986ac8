"""A language model without a model, for tests of the process it lives in: the prompt says what it does."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from studio.errors import BadRequest, Cancelled, ModelError


@dataclass(frozen=True, slots=True)
class Written:
    text: str
    ended: bool = True
    goes_on: bool = False


class FakeWriter:
    def __init__(self, folder: Path, threads: int) -> None:
        if folder.name == "broken":
            raise ModelError("This one is broken.")
        if folder.name == "endless":
            time.sleep(600)

    def write(self, task: str, text: str, turn: int, stop: threading.Event, seconds: float) -> Written:
        match text:
            case "pid":
                return Written(str(os.getpid()))
            case "task":
                return Written(task)
            case "die":
                os._exit(3)
            case "fail":
                raise RuntimeError("out of order")
            case "refuse":
                raise BadRequest("Not this one.")
            case "wait":
                stop.wait(600)
                raise Cancelled("Stopped.")
            case "hang":
                time.sleep(600)
            case "nothing":
                return Written(" \n")
            case "think":
                return Written("<think>so, a boat, and", ended=False)
            case "ramble":
                return Written("boat " * 200, ended=False)
            case "much":
                return Written("a boat, at sea, and then anoth", ended=False)
            case "a boat":
                return Written(", at sea, on a su", ended=False, goes_on=True)
            case "a red":
                return Written(" boat\nand so on, and", ended=False, goes_on=True)
            case "a sun":
                return Written("set", goes_on=True)
        return Written(f'Prompt: "{text}, {turn}"')
