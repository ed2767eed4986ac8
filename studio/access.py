"""Who may come in, and from where: one gate in front of every route, Gradio's and ours.

On the loopback address the studio belongs to whoever sits at the machine. Reachable from elsewhere it is private: a
browser must first bring a key (the owner's or the invitation's), which is exchanged once for a cookie.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.errors import Forbidden, StudioError, TooLarge

OWNER: Final = "owner"
COOKIE: Final = "pochade_session"
MAX_BODY: Final = 64 * 2**20
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

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
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@dataclass
class Invitations:
    """The two keys of a private studio and the browsers that have used them; 256 bits each, void at the next start."""

    owner_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    guest_key: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _sessions: dict[str, str] = field(default_factory=dict)

    def exchange(self, key: str) -> str | None:
        """A session token for a right key; every guest's browser becomes a person of its own."""
        given = key.encode()
        if secrets.compare_digest(given, self.owner_key.encode()):
            person = OWNER
        elif secrets.compare_digest(given, self.guest_key.encode()):
            person = f"guest-{secrets.token_hex(8)}"
        else:
            return None
        token = secrets.token_urlsafe(32)
        self._sessions[token] = person
        return token

    def person(self, token: str) -> str | None:
        return self._sessions.get(token)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def owner_of(request: Request) -> str:
    """The person behind a request that passed the gate."""
    owner: str = request.scope["state"]["owner"]
    return owner


class Gate:
    """ASGI middleware: checks host, origin, key and body size, names the owner, adds the safe headers.

    `hosts` are the names the studio answers to besides this machine's loopback names; with `any_address` also any bare
    IP address, which DNS rebinding cannot forge. Without `invitations` everyone is the owner.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        any_address: bool = False,
        invitations: Invitations | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._any_address = any_address
        self._invitations = invitations
        self._max_body = max_body

    def allow(self, host: str) -> None:
        """Answer to one more name, e.g. the public link's."""
        self._hosts.add(host.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no part of the studio speaks WebSocket
        headers = Headers(scope=scope)
        guarded = _with_headers(send)
        answer: Response | None
        try:
            self._check_origin(scope["method"], headers)
            answer = self._admit(scope, headers)
            if int(headers.get("content-length") or 0) > self._max_body:
                raise TooLarge(self._too_long())
        except (StudioError, ValueError) as refused:
            status = refused.status if isinstance(refused, StudioError) else 400
            answer = JSONResponse({"error": str(refused)}, status)
        if answer is not None:
            await answer(scope, receive, guarded)
            return
        await self._pass(scope, receive, guarded)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, counting the body: a chunked upload has no `content-length` to check beforehand."""
        received, refused = 0, False

        async def counted() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received <= self._max_body or refused:
                return message
            refused = True  # answered here; the app is told that its client has gone
            await JSONResponse({"error": self._too_long()}, TooLarge.status)(scope, receive, send)
            return {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            if not refused:
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except ClientDisconnect:
            if not refused:
                raise

    def _too_long(self) -> str:
        return f"An upload may be at most {self._max_body // 2**20} MB."

    def _answers_to(self, host: str) -> bool:
        if is_loopback(host) or host in self._hosts:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _check_origin(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._answers_to(_hostname(f"//{host}")):
            raise Forbidden("This studio does not answer to that address; start it with --allowed-host if it should.")
        if method in _SAFE_METHODS:
            return
        origin = headers.get("origin")
        if origin is None:
            foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
        else:
            foreign = urlsplit(origin).netloc.lower() != host.lower() and _hostname(origin) not in self._hosts
        if foreign:
            raise Forbidden("Another web page tried to use this studio; that is not allowed.")

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        """Name the person in the scope, or answer in the studio's stead."""
        state = scope.setdefault("state", {})
        if self._invitations is None:
            state["owner"] = OWNER
            return None
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        if scope["method"] == "GET" and "key" in query and (token := self._invitations.exchange(query.pop("key"))):
            rest = f"?{urlencode(query)}" if query else ""
            answer = RedirectResponse(f"{scope.get('root_path', '')}{scope['path']}{rest}", 303)
            secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
            answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=secure, path="/")
            return answer
        person = self._invitations.person(_cookie(headers.get("cookie", "")))
        if person is None:
            return PlainTextResponse("This studio is private. Open it with the link you were given.", 401)
        state["owner"] = person
        return None


def _hostname(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
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
