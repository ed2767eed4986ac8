"""One gate in front of every route, Gradio's and ours: checks host, origin and size, and knows who comes.

On the loopback address the studio belongs to whoever sits at the machine. Reachable from elsewhere it is private:
behind the gate nothing is asked for anything before a browser has signed in.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import AT_HOME, MAX_BODY, Person, is_loopback
from studio.attendance import Attendance, SignedOut
from studio.errors import BadRequest, Forbidden, StudioError, TooLarge, TooManyRequests, TooSlow
from studio.people import People
from studio.people_store import Session
from studio.signin import SignIn

#: Says whether the studio works, and nothing else; the one route a stranger may ask.
HEALTH: Final = "/healthz"
_SLOWEST: Final = 4096
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NAME: Final = r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})"
_HOST: Final = re.compile(rf"({_NAME})(?::[0-9]{{1,5}})?")
_ORIGIN: Final = re.compile(rf"https?://({_NAME}(?::[0-9]{{1,5}})?)")
#: What a proxy adds to a request it hands on.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")

#: `unsafe-inline` and `unsafe-eval` are Gradio's; what counts is that nothing is loaded from, or sent to, another host.
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """ASGI middleware.

    Args:
        hosts: Names the studio answers to besides this machine's loopback names.
        any_address: Also any bare IP address, which DNS rebinding cannot forge.
        people: Who may come in; without it everyone is the owner.
        root_path: Where a proxy serves the studio; it may hand the path on with or without it.
        max_body: Bytes of a request's body.
    """

    #: Seconds a body may take, and one more for each `_SLOWEST` bytes of it.
    patience = 30.0

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        any_address: bool = False,
        people: People | None = None,
        root_path: str = "",
        max_body: int = MAX_BODY,
    ) -> None:
        self.app = app
        self._hosts = {host.lower() for host in hosts}
        self._any_address = any_address
        self._root = root_path.rstrip("/")
        self._max_body = max_body
        self._sign_in = None if people is None else SignIn(people, self._root)
        self._attendance = None if people is None else Attendance(people)

    def allow(self, host: str) -> None:
        """Answer to one more name, e.g. the public link's."""
        self._hosts.add(host.lower())

    def forget(self, host: str) -> None:
        """Answer to that name no longer."""
        self._hosts.discard(host.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no part of the studio speaks WebSocket
        guarded = _with_headers(send)
        try:
            answer = await self._admit(self._below_root(scope), receive, guarded)
        except StudioError as refused:
            answer = refusal(refused)
        if answer is not None:
            await answer(scope, receive, guarded)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Let the app answer, or say what to answer in its stead."""
        headers = Headers(scope=scope)
        self._check_origin(scope["method"], headers)
        self._check_size(headers)
        if self._sign_in is None or self._attendance is None:
            if any(name in headers for name in _FORWARDED):
                raise Forbidden(
                    "This request came through a proxy, and the studio asks nobody to sign in; start it with --sign-in."
                )
            await self._pass(_named(scope, AT_HOME), receive, send)
            return None
        if scope["path"] == HEALTH:
            await self._pass(scope, receive, send)
            return None
        session = self._sign_in.session(headers)
        answer = await self._sign_in.answer(scope, receive, session)
        if answer is not None or session is None:
            return answer
        inside = _named(scope, session.person, session)
        try:
            await self._attendance.attend(session, send, lambda watched: self._pass(inside, receive, watched))
        except SignedOut:
            return self._sign_in.stranger(scope)
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, counting the body: a chunked upload has no `content-length` to check beforehand, and one that
        trickles in would hold its place for ever."""
        received, refused, whole = 0, False, False
        began = asyncio.get_running_loop().time()

        async def counted() -> Message:
            nonlocal received, whole
            too_late = None if whole or refused else began + self.patience + received / _SLOWEST
            try:
                async with asyncio.timeout_at(too_late):
                    message = await receive()
            except TimeoutError:
                return await instead(TooSlow("This upload is too slow; try again with a better connection."))
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            return message if received <= self._max_body or refused else await instead(TooLarge(self._too_long()))

        async def instead(refused_for: StudioError) -> Message:
            """Answered here; the app is told that its client has gone."""
            nonlocal refused
            refused = True
            await refusal(refused_for)(scope, receive, send)
            return {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            await self.app(scope, counted, unless_refused)
        except ClientDisconnect:
            if not refused:
                raise

    def _below_root(self, scope: Scope) -> Scope:
        path: str = scope["path"]
        if not self._root or (path != self._root and not path.startswith(f"{self._root}/")):
            return scope
        raw = scope.get("raw_path") or path.encode()
        return {
            **scope,
            "path": path.removeprefix(self._root) or "/",
            "raw_path": raw.removeprefix(self._root.encode()) or b"/",
        }

    def _check_size(self, headers: Headers) -> None:
        try:
            announced = int(headers.get("content-length") or 0)
        except ValueError as nonsense:
            raise BadRequest("The request does not say how long it is.") from nonsense
        if announced > self._max_body:
            raise TooLarge(self._too_long())

    def _too_long(self) -> str:
        return f"An upload may be at most {self._max_body // 2**20} MB."

    def _answers_to(self, host: str) -> bool:
        if is_loopback(host) or host in self._hosts:
            return True
        return self._any_address and _is_address(host)

    def _check_origin(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        named = _HOST.fullmatch(host)
        if named is None or len(headers.getlist("host")) > 1 or not self._answers_to(named[1].strip("[]").lower()):
            raise Forbidden("This studio does not answer to that address; start it with --allowed-host if it should.")
        if method in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        if origin is None:
            foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        else:
            foreign = not self._is_ours(origin, host)
        if foreign:
            raise Forbidden("Another web page tried to use this studio; that is not allowed.")

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether a page of this origin is the studio's own. Another port of the same machine is somebody else."""
        parts = _ORIGIN.fullmatch(origin.lower())
        if parts is None:
            return False
        # A proxy may put its own name for us into the host header; the browser still knows the public one.
        return parts[1] == host.lower() or (parts[1] in self._hosts and not _is_address(parts[1]))


def refusal(error: StudioError) -> Response:
    """What a client is told instead of what it asked for."""
    headers = {"retry-after": str(max(1, round(error.retry_after)))} if isinstance(error, TooManyRequests) else None
    return JSONResponse({"error": str(error)}, error.status, headers)


def _named(scope: Scope, person: Person, session: Session | None = None) -> Scope:
    return {**scope, "state": {**scope.get("state", {}), "person": person, "session": session}}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            # Gradio reflects any origin on a named host; nobody but our own page has business here.
            for name in [name for name in headers if name.startswith("access-control-")]:
                del headers[name]
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
