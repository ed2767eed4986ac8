"""The stream a page listens to: the board of its owner and the state of the engine, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from starlette.concurrency import run_in_threadpool

from studio.board import Board
from studio.engine import Status
from studio.job_store import Ticket
from studio.jobs import Jobs
from studio.request import ResolvedRequest

#: Seconds between two messages at least; changes in between are told together.
PERIOD: Final = 1 / 8
#: Seconds after which the state of the engine is looked at although no job has changed.
LOOK: Final = 1.0
#: Seconds of silence after which a comment tells proxies and browsers that the line is alive.
KEEP_ALIVE: Final = 10.0
#: Waiting jobs told in full; `waiting_total` counts all.
MOST_WAITING: Final = 32


async def events(
    jobs: Jobs, owner: str, status: Callable[[], Status], is_gone: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[str]:
    """A message at once, then one after each change, until the client or the studio goes. Holds no thread."""
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has closed; so will this stream
            loop.call_soon_threadsafe(changed.set)

    unsubscribe = jobs.subscribe(wake)
    last, spoken = "", loop.time()
    shown: bytes | None = None
    try:
        yield "retry: 1000\n\n"
        while not jobs.closing and not await is_gone():
            changed.clear()
            board = await run_in_threadpool(jobs.board, owner)
            message = snapshot(board, status())
            text = json.dumps(message, ensure_ascii=False)
            if text != last:
                last, spoken = text, loop.time()
                preview = board.running.preview if board.running else None
                if preview is not None and preview is not shown:
                    shown = preview
                    text = json.dumps(_with_preview(message, preview), ensure_ascii=False)
                yield f"data: {text}\n\n"
            elif loop.time() - spoken >= KEEP_ALIVE:
                spoken = loop.time()
                yield ": still here\n\n"
            await asyncio.sleep(PERIOD)
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK)
    finally:
        unsubscribe()


def snapshot(board: Board, status: Status) -> dict[str, object]:
    """One message, without the preview."""
    running = board.running
    return {
        "engine": describe_status(status),
        "trouble": board.trouble,
        "running": None
        if running is None
        else {
            **_brief(running.ticket),
            "stage": running.stage,
            "step": running.step,
            "steps": running.steps,
            "index": running.index,
            "count": running.count,
            "seconds_left": None if running.seconds_left is None else round(running.seconds_left, 1),
            "preview_number": running.preview_number,
        },
        "waiting": [
            {
                **_brief(waiting.ticket),
                "position": waiting.ticket.position,
                "seconds": None if waiting.seconds is None else round(waiting.seconds),
            }
            for waiting in board.waiting[:MOST_WAITING]
        ],
        "waiting_total": len(board.waiting),
        "recent": [{**_brief(ticket), "reason": ticket.reason, "unsaved": ticket.unsaved} for ticket in board.recent],
    }


def describe_status(status: Status) -> dict[str, object]:
    return {
        "state": status.state,
        "detail": status.detail,
        "device": status.device,
        "model": status.model,
        "mode": status.mode,
    }


def described(request: ResolvedRequest | None, inputs: Mapping[str, str]) -> dict[str, object]:
    """A request for the page: JavaScript loses digits of a seed above 2**53, and pictures are named, not sent."""
    if request is None:
        return {}
    return {**request.referring(inputs), "seed": str(request.seed)}


def _brief(ticket: Ticket) -> dict[str, object]:
    return {
        "id": ticket.id,
        "state": ticket.state,
        "request": described(ticket.request, ticket.inputs),
        "pictures": ticket.pictures,
    }


def _with_preview(message: dict[str, object], jpeg: bytes) -> dict[str, object]:
    running = message["running"]
    assert isinstance(running, dict)
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    return {**message, "running": {**running, "preview": url}}
