from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from studio.access import OWNER, Gate, Invitations, owner_of


async def _whoami(request: Request) -> Response:
    body = await request.body()
    answer = PlainTextResponse(f"{owner_of(request)} {len(body)}")
    answer.headers["access-control-allow-origin"] = "*"
    return answer


STUDIO = Starlette(routes=[Route("/", _whoami, methods=["GET", "POST"])])


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
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_another_page_cannot_post(headers: dict[str, str]) -> None:
    async with client(Gate(STUDIO)) as browser:
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


async def test_a_private_studio_shows_nothing_without_a_key() -> None:
    async with client(Gate(STUDIO, invitations=Invitations())) as browser:
        for attempt in ("/", "/?key=", "/?key=wrong", "/?key=%00%ff"):
            answer = await browser.get(attempt)
            assert (answer.status_code, "guest" in answer.text) == (401, False)
        assert (await browser.post("/", content=b"abc")).status_code == 401


async def test_a_key_is_exchanged_for_a_cookie_and_leaves_the_address_bar() -> None:
    invitations = Invitations()
    gate = Gate(STUDIO, invitations=invitations)
    async with client(gate) as owner, client(gate) as ann, client(gate) as bob:
        exchanged = await owner.get("/", params={"key": invitations.owner_key, "tab": "gallery"})
        assert (exchanged.status_code, exchanged.headers["location"]) == (303, "/?tab=gallery")
        assert "httponly" in exchanged.headers["set-cookie"].lower()
        assert (await owner.get("/")).text == f"{OWNER} 0"
        people = []
        for guest in (ann, bob):
            await guest.get("/", params={"key": invitations.guest_key})
            people.append((await guest.get("/")).text)
    assert people[0].startswith("guest-")
    assert people[0] != people[1]
