"""Signing in: the one page a stranger sees, the exchange of a key or a password for a cookie, and signing out."""

from __future__ import annotations

from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from studio.errors import BadRequest, StudioError, TooLarge, TooManyRequests
from studio.people import LONGEST, People
from studio.people_store import Entry, Session
from studio.throttle import Throttle

COOKIE: Final = "pochade_session"
#: Where a key or password is sent, and where a browser says goodbye.
ENTER: Final = "/studio/enter"
LEAVE: Final = "/studio/leave"
#: Bytes of a filled-in form.
_MAX_FORM: Final = 8192
_PRIVATE: Final = "This studio is private. Open it with the link you were given."
_WRONG_KEY: Final = "This invitation is not valid any more; ask for a new one."
_WRONG_PASSWORD: Final = "Name or password is wrong."
#: A link is only ever spent by pressing the button: chat programs open links to preview them.
_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A private studio</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"><style>
:root {{ color-scheme: dark light; font: 16px/1.5 system-ui, sans-serif }}
body {{ min-height: 90vh; display: grid; place-content: center; margin: 1rem }}
main {{ max-width: 22rem }} form {{ display: grid; gap: .6rem; margin-block: 1rem }}
input, button {{ font: inherit; padding: .5rem .7rem; border-radius: .4rem; border: 1px solid #8888 }}
button {{ cursor: pointer; font-weight: 600 }} label {{ display: grid }}
</style></head><body><main><h1>A private studio</h1>{told}{key}
<details{open}><summary>Sign in with a name and password</summary><form method="post" action="{action}">
<label>Name <input name="name" autocomplete="username" required maxlength="80"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required maxlength="256"></label>
<button>Sign in</button></form></details></main></body></html>"""
_KEY: Final = """<form method="post" action="{action}"><input type="hidden" name="key" value="{key}">
<button autofocus>Come in</button></form>"""
_PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",  # without any, browsers would send the form with the origin `null`
    "cache-control": "no-store",
}


class SignIn:
    """Answers everything of those who are not signed in yet, and the two routes above."""

    def __init__(self, people: People, root: str) -> None:
        self._people = people
        self._root = root
        self._by_address = Throttle(10, 60.0)
        self._by_name = Throttle(10, 60.0)
        self._by_anybody = Throttle(100, 60.0)

    def session(self, headers: Headers) -> Session | None:
        """Whose cookie, or whose `Authorization: Bearer` for programs, the request carries."""
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        token = bearer.strip() if kind.lower() == "bearer" else _cookie(headers.get("cookie", ""))
        return self._people.session(token) if token else None

    async def answer(self, scope: Scope, receive: Receive, session: Session | None) -> Response | None:
        """What to answer in the studio's stead; None when the studio may."""
        request = Request(scope, receive)
        if scope["path"] == ENTER:
            if scope["method"] == "POST":
                return await self._enter(request)
            return RedirectResponse(f"{self._root}/", 303)
        if scope["path"] == LEAVE and scope["method"] == "POST" and session is not None:
            await run_in_threadpool(self._people.end_session, session.id)
            answer: Response = RedirectResponse(f"{self._root}/", 303)
            answer.delete_cookie(COOKIE, path=self._root or "/")
            return answer
        if scope["method"] == "GET" and scope["path"] == "/" and (key := request.query_params.get("key")):
            return self._page("You are invited.", 200, key=key)
        return self.stranger(scope) if session is None else None

    def stranger(self, scope: Scope) -> Response:
        headers = Headers(scope=scope)
        if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
            return self._page(_PRIVATE, 401)
        return JSONResponse({"error": _PRIVATE}, 401, {"cache-control": "no-store"})

    async def _enter(self, request: Request) -> Response:
        try:
            form = await _form(request)
        except StudioError as refused:
            return self._page(str(refused), refused.status)
        address = request.client.host if request.client else ""
        browser = request.headers.get("user-agent", "")
        if "key" in form:
            # Keys cannot be guessed, so a right one is taken whatever others at this address have tried.
            entry = await run_in_threadpool(self._people.enter, form["key"][:200], browser)
            if entry is not None:
                return self._welcome(request, entry)
            return self._refused(address, "", _WRONG_KEY)
        name, password = form.get("name", "")[:200].strip().casefold(), form.get("password", "")
        if wait := self._wait(address, name):
            return self._page("Too many attempts; wait a minute.", TooManyRequests.status, wait=wait)
        entry = await run_in_threadpool(self._people.sign_in, name, password, browser)
        if entry is not None:
            return self._welcome(request, entry)
        return self._refused(address, name, _WRONG_PASSWORD)

    def _wait(self, address: str, name: str) -> float:
        return max(self._by_address.wait(address), self._by_name.wait(name), self._by_anybody.wait(""))

    def _refused(self, address: str, name: str, sentence: str) -> Response:
        wait = self._by_address.wait(address)
        self._by_address.failed(address)
        self._by_anybody.failed("")
        if name:
            self._by_name.failed(name)
        if wait:
            return self._page("Too many attempts; wait a minute.", TooManyRequests.status, wait=wait)
        return self._page(sentence, 401)

    def _welcome(self, request: Request, entry: Entry) -> Response:
        answer = RedirectResponse(f"{self._root}/", 303, {"cache-control": "no-store"})
        secure = "https" in (request.scope.get("scheme"), request.headers.get("x-forwarded-proto"))
        answer.set_cookie(
            COOKIE,
            entry.token,
            httponly=True,
            samesite="lax",
            secure=secure,
            path=self._root or "/",
            max_age=int(LONGEST),
        )
        return answer

    def _page(self, told: str, status: int, key: str = "", wait: float = 0.0) -> Response:
        action = escape(f"{self._root}{ENTER}", quote=True)
        body = _PAGE.format(
            told=f"<p role='status'>{escape(told)}</p>",
            key=_KEY.format(action=action, key=escape(key, quote=True)) if key else "",
            open=" open" if told == _WRONG_PASSWORD else "",
            action=action,
        )
        headers = {**_PAGE_HEADERS, **({"retry-after": str(max(1, round(wait)))} if wait else {})}
        return HTMLResponse(body, status, headers)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM:
            raise TooLarge("This form is too long.")
    try:
        filled = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=16)
    except ValueError as too_many:
        raise BadRequest("This form has too many fields.") from too_many
    return {name: values[-1] for name, values in filled.items()}


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
