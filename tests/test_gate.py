from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.access import OWNER, Scope, owner_of
from studio.gate import Gate
from studio.people import DAY, People
from studio.signin import COOKIE, ENTER, LEAVE


async def _whoami(request: Request) -> Response:
    body = await request.body()
    answer = PlainTextResponse(f"{owner_of(request)} {len(body)}")
    answer.headers["access-control-allow-origin"] = "*"
    return answer


async def _stream(request: Request) -> Response:
    async def forever() -> AsyncIterator[str]:
        while True:
            yield "still here\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(forever())


STUDIO = Starlette(routes=[Route("/", _whoami, methods=["GET", "POST"]), Route("/stream", _stream)])
WITH_HTML = {"accept": "text/html"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(tmp_path: Path, clock: Clock) -> Iterator[People]:
    people = People(tmp_path / "people.sqlite3", clock)
    yield people
    people.close()


def client(gate: Gate, base: str = "http://127.0.0.1:7860") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=gate), base_url=base)


async def test_at_the_machine_itself_everyone_is_the_owner() -> None:
    async with client(Gate(STUDIO)) as browser:
        answer = await browser.get("/")
    assert answer.text == f"{OWNER} 0"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::ffff:8.8.8.8]", "192.168.1.7"])
async def test_a_strange_host_name_is_refused(host: str) -> None:
    async with client(Gate(STUDIO)) as browser:
        answer = await browser.get("/", headers={"host": host})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "studio.example", "STUDIO.example:443"])
async def test_its_own_names_are_answered(host: str) -> None:
    async with client(Gate(STUDIO, hosts=["studio.example"])) as browser:
        assert (await browser.get("/", headers={"host": host})).status_code == 200


async def test_on_all_addresses_a_bare_address_is_a_name_but_a_domain_is_not() -> None:
    async with client(Gate(STUDIO, any_address=True)) as browser:
        assert (await browser.get("/", headers={"host": "192.168.1.7:7860"})).status_code == 200
        assert (await browser.get("/", headers={"host": "rebound.example"})).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://127.0.0.1:7860.evil.example"},
        {"origin": "http://127.0.0.1:7860@evil.example"},
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_another_page_cannot_post(headers: dict[str, str]) -> None:
    async with client(Gate(STUDIO, hosts=["127.0.0.1", "studio.example"])) as browser:
        assert (await browser.post("/", headers=headers)).status_code == 403


@pytest.mark.parametrize("headers", [{"origin": "http://127.0.0.1:7860"}, {}, {"sec-fetch-site": "same-origin"}])
async def test_our_own_page_and_programs_can_post(headers: dict[str, str]) -> None:
    async with client(Gate(STUDIO)) as browser:
        assert (await browser.post("/", headers=headers, content=b"abc")).text == f"{OWNER} 3"


async def test_behind_a_proxy_the_allowed_host_may_differ_from_the_host_header() -> None:
    async with client(Gate(STUDIO, hosts=["studio.example"])) as browser:
        answer = await browser.post("/", headers={"origin": "https://studio.example"})
    assert answer.status_code == 200


async def test_no_answer_shares_itself_with_other_origins_and_all_carry_the_safe_headers() -> None:
    async with client(Gate(STUDIO)) as browser:
        answer = await browser.get("/")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_too_long_a_body_is_refused_with_and_without_a_stated_length() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with client(Gate(STUDIO, max_body=1000)) as browser:
        stated = await browser.post("/", content=b"x" * 1001)
        chunked = await browser.post("/", content=chunks())
        fits = await browser.post("/", content=b"x" * 1000)
    assert (stated.status_code, chunked.status_code, fits.status_code) == (413, 413, 200)


async def test_through_a_proxy_nobody_is_the_owner_unasked() -> None:
    async with client(Gate(STUDIO)) as browser:
        for name in ("x-forwarded-for", "forwarded", "x-real-ip", "x-forwarded-host"):
            answer = await browser.get("/", headers={name: "203.0.113.9"})
            assert (answer.status_code, "--sign-in" in answer.text) == (403, True)


@pytest.mark.parametrize("path", ["/pochade/", "/pochade", "/"])
async def test_a_proxy_may_hand_the_path_on_with_or_without_the_prefix(path: str) -> None:
    async with client(Gate(STUDIO, root_path="/pochade")) as browser:
        assert (await browser.get(path)).text == f"{OWNER} 0"
        assert (await browser.get("/pochadex/")).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{"content-length": "-"}, {"host": "127.0.0.1:7860:1"}, {"host": "[::1"}, {"origin": "http://[::1"}],
)
async def test_nonsense_in_headers_is_refused_with_a_sentence(headers: dict[str, str]) -> None:
    async with client(Gate(STUDIO)) as browser:
        answer = await browser.post("/", headers=headers)
    assert answer.status_code in (403, 422)
    assert list(answer.json()) == ["error"]


async def test_a_private_studio_shows_nothing_without_a_key(people: People) -> None:
    async with client(Gate(STUDIO, people=people)) as browser:
        for attempt in ("/", "/?key=", "/nonsense"):
            answer = await browser.get(attempt)
            assert (answer.status_code, "guest" in answer.text) == (401, False)
        page = await browser.get("/", headers=WITH_HTML)
        assert (page.status_code, "A private studio" in page.text) == (401, True)
        assert "pochade" not in page.text.lower()
        assert (await browser.post("/", content=b"abc")).status_code == 401
        assert (await browser.get("/", headers={"cookie": f"{COOKIE}=wrong"})).status_code == 401
        assert (await browser.get("/", headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_a_link_is_only_spent_by_the_button_and_never_stays_in_the_address_bar(people: People) -> None:
    _, key = people.invite("Ann", Scope.GENERATE)
    gate = Gate(STUDIO, people=people)
    async with client(gate) as preview, client(gate) as ann, client(gate) as thief:
        for _ in range(3):  # a chat program looks at the link
            page = await preview.get("/", params={"key": key}, headers=WITH_HTML)
            assert (page.status_code, key in page.text) == (200, True)
            assert page.headers["referrer-policy"] == "same-origin"
            assert "default-src 'none'" in page.headers["content-security-policy"]
        entered = await ann.post(ENTER, data={"key": key})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert key not in cookie
        assert (await ann.get("/")).text.startswith("guest-")
        assert (await thief.post(ENTER, data={"key": key})).status_code == 401
        assert (await thief.get("/")).status_code == 401


async def test_a_key_is_shown_as_text_only(people: People) -> None:
    async with client(Gate(STUDIO, people=people)) as browser:
        page = await browser.get("/", params={"key": '"><script>alert(1)</script>'}, headers=WITH_HTML)
    assert "<script>" not in page.text


async def test_behind_tls_the_cookie_is_secure_and_below_a_path_it_stays_there(people: People) -> None:
    _, key = people.invite("Ann", Scope.GENERATE)
    gate = Gate(STUDIO, hosts=["studio.example"], people=people, root_path="/pochade")
    async with client(gate, "https://studio.example") as browser:
        entered = await browser.post(f"/pochade{ENTER}", data={"key": key})
    assert entered.headers["location"] == "/pochade/"
    assert "path=/pochade;" in entered.headers["set-cookie"].lower() + ";"
    assert "; secure" in entered.headers["set-cookie"].lower()


async def test_another_page_cannot_sign_a_browser_in(people: People) -> None:
    _, key = people.invite("Ann", Scope.GENERATE)
    async with client(Gate(STUDIO, people=people)) as browser:
        answer = await browser.post(ENTER, data={"key": key}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_guessing_passwords_is_slowed_down_but_an_invitation_still_works(people: People) -> None:
    invitation, key = people.invite("Ann", Scope.GENERATE)
    assert invitation.person is not None
    people.set_password(invitation.person, "Ann", "correct horse")
    async with client(Gate(STUDIO, people=people)) as browser:
        entered = await browser.post(ENTER, data={"name": "ann", "password": "correct horse"})
        assert entered.status_code == 303
        browser.cookies.clear()
        statuses = [
            (await browser.post(ENTER, data={"name": "ann", "password": f"guess number {n}"})).status_code
            for n in range(11)
        ]
        assert statuses == [401] * 10 + [429]
        throttled = await browser.post(ENTER, data={"name": "ann", "password": "correct horse"})
        assert throttled.status_code == 429
        assert 0 < int(throttled.headers["retry-after"]) <= 60
        assert (await browser.post(ENTER, data={"key": "wrong"})).status_code == 429
        assert (await browser.post(ENTER, data={"key": key})).status_code == 303


async def test_a_form_that_is_none_is_refused(people: People) -> None:
    async with client(Gate(STUDIO, people=people)) as browser:
        assert (await browser.post(ENTER, content=b"x" * 10_000)).status_code == 413
        assert (await browser.post(ENTER, content=b"a=1&" * 50)).status_code == 422
        assert (await browser.post(ENTER, content=b"\xff\x00=%ff&key=%00")).status_code == 401
        assert (await browser.get(ENTER)).status_code == 303


async def test_sessions_expire_by_themselves_and_by_leaving(people: People, clock: Clock) -> None:
    gate = Gate(STUDIO, people=people)
    async with client(gate) as ann, client(gate) as bob:
        for browser, name in ((ann, "Ann"), (bob, "Bob")):
            _, key = people.invite(name, Scope.GENERATE, lasts=None)
            await browser.post(ENTER, data={"key": key})
        clock.now += 20 * DAY
        assert (await ann.get("/")).status_code == 200
        clock.now += 20 * DAY  # seen in between, ann's goes on; bob's does not
        assert ((await ann.get("/")).status_code, (await bob.get("/")).status_code) == (200, 401)
        assert (await ann.post(LEAVE)).status_code == 303
        assert (await ann.get("/")).status_code == 401


async def test_whoever_is_revoked_is_out_at_once_and_nobody_else(people: People) -> None:
    gate = Gate(STUDIO, people=people)
    invitation, key = people.invite("Ann", Scope.GENERATE, browsers=2)
    other, others_key = people.invite("Bob", Scope.GENERATE)
    async with client(gate) as ann, client(gate) as anns_phone, client(gate) as bob:
        for browser, used in ((ann, key), (anns_phone, key), (bob, others_key)):
            await browser.post(ENTER, data={"key": used})
        people.revoke_invitation(invitation.id)
        assert [(await browser.get("/")).status_code for browser in (ann, anns_phone, bob)] == [401, 401, 200]
        assert (await ann.post(ENTER, data={"key": key})).status_code == 401
        assert other.person is not None
        people.revoke_person(other.person)
        assert (await bob.get("/")).status_code == 401


async def _streaming(gate: Gate, cookie: str) -> tuple[asyncio.Task[None], list[bytes], list[bool]]:
    """A browser listening to `/stream`: the request, what it has heard, and whether the answer ended."""
    heard: list[bytes] = []
    ended: list[bool] = []
    speaking = asyncio.Event()

    async def receive() -> dict[str, object]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        if message["type"] == "http.response.body":
            heard.append(message.get("body", b""))
            speaking.set()
            if not message.get("more_body", False):
                ended.append(True)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/stream",
        "raw_path": b"/stream",
        "query_string": b"",
        "scheme": "http",
        "server": ("127.0.0.1", 7860),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"127.0.0.1:7860"), (b"cookie", f"{COOKIE}={cookie}".encode())],
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
    }
    task = asyncio.ensure_future(gate(scope, receive, send))
    await asyncio.wait_for(speaking.wait(), 20)
    return task, heard, ended


async def test_an_open_stream_ends_when_its_session_is_revoked(people: People) -> None:
    gate = Gate(STUDIO, people=people)
    invitation, key = people.invite("Ann", Scope.GENERATE)
    entry = people.enter(key)
    _, bobs_key = people.invite("Bob", Scope.GENERATE)
    bobs = people.enter(bobs_key)
    assert entry is not None
    assert bobs is not None
    task, _, ended = await _streaming(gate, entry.token)
    others, _, others_ended = await _streaming(gate, bobs.token)
    await asyncio.to_thread(people.revoke_invitation, invitation.id)
    await asyncio.wait_for(task, 20)
    assert ended == [True]
    await asyncio.sleep(0.05)
    assert (others.done(), others_ended) == (False, [])
    others.cancel()
    with pytest.raises(asyncio.CancelledError):
        await others


async def test_an_open_stream_ends_when_its_session_expires(people: People, clock: Clock) -> None:
    _, key = people.invite("Ann", Scope.GENERATE, lasts=0.4)
    entry = people.enter(key)
    assert entry is not None
    task, _, ended = await _streaming(Gate(STUDIO, people=people), entry.token)
    clock.now += 1
    await asyncio.wait_for(task, 20)
    assert ended == [True]


async def test_a_guest_cannot_hold_every_connection_and_the_owner_is_not_counted(people: People) -> None:
    gate = Gate(STUDIO, people=people)
    _, key = people.invite("Ann", Scope.GENERATE)
    entry = people.enter(key)
    owner = people.enter(people.terminal_keys()[0])
    assert entry is not None
    assert owner is not None
    open_ones = [await _streaming(gate, entry.token) for _ in range(64)]
    async with client(gate) as browser:
        refused = await browser.get("/", headers={"cookie": f"{COOKIE}={entry.token}"})
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        assert (await browser.get("/", headers={"cookie": f"{COOKIE}={owner.token}"})).status_code == 200
    for task, _, _ in open_ones:
        task.cancel()
    await asyncio.gather(*(task for task, _, _ in open_ones), return_exceptions=True)


async def test_a_program_signs_in_with_a_bearer(people: People) -> None:
    entry = people.enter(people.terminal_keys()[0])
    assert entry is not None
    async with client(Gate(STUDIO, people=people)) as program:
        answer = await program.get("/", headers={"authorization": f"Bearer {entry.token}"})
    assert answer.text == f"{OWNER} 0"
