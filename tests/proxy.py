"""A reverse proxy that serves a studio below a path, as nginx would, in a few lines of ASGI."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.types import Message, Receive, Scope, Send

_HOP: frozenset[bytes] = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


@contextmanager
def proxied(address: str, prefix: str, *, strips: bool = True) -> Iterator[str]:
    """The public address. `strips`: whether the studio gets to see the prefix."""
    standing: Future[tuple[str, uvicorn.Server]] = Future()

    async def live() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=None) as studio:

            async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
                assert scope["type"] == "http"
                path = scope["raw_path"].decode()
                if not path.startswith(f"{prefix}/"):
                    await send({"type": "http.response.start", "status": 404, "headers": []})
                    await send({"type": "http.response.body", "body": b"not the studio's"})
                    return
                body, more = b"", True
                while more:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                query = scope["query_string"].decode()
                target = (path.removeprefix(prefix) if strips else path) + (f"?{query}" if query else "")
                headers = [(name, value) for name, value in scope["headers"] if name not in _HOP]
                headers += [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"http")]
                request = studio.build_request(scope["method"], target, headers=headers, content=body)
                answer = await studio.send(request, stream=True)
                gone = asyncio.ensure_future(_gone(receive))
                try:
                    kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP]
                    await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
                    parts = answer.aiter_raw()
                    while not gone.done():
                        part = asyncio.ensure_future(anext(parts, None))
                        await asyncio.wait({part, gone}, return_when=asyncio.FIRST_COMPLETED)
                        if not part.done() or part.result() is None:
                            part.cancel()
                            break
                        await send({"type": "http.response.body", "body": part.result(), "more_body": True})
                    await send({"type": "http.response.body", "body": b""})
                finally:
                    gone.cancel()
                    await answer.aclose()

            with socket.create_server(("127.0.0.1", 0)) as listener:
                config = uvicorn.Config(proxy, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
                server = uvicorn.Server(config)
                standing.set_result((f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}", server))
                await server.serve([listener])

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    public, server = standing.result(20)
    try:
        yield public
    finally:
        server.should_exit = True
        thread.join(20)


async def _gone(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
