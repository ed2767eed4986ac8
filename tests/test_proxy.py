"""The studio below a path of a reverse proxy, which hands that path on or does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from studio.signin import ENTER
from tests.private import private_studio
from tests.proxy import proxied


@pytest.mark.parametrize("strips", [True, False])
def test_below_a_path_everything_on_the_page_is_there(tmp_path: Path, strips: bool) -> None:
    with (
        private_studio(tmp_path, root_path="/pochade") as studio,
        proxied(studio.address, "/pochade", strips=strips) as address,
        httpx.Client(base_url=address, timeout=30) as browser,
    ):
        key, _ = studio.people.terminal_keys()
        door = browser.get("/", params={"key": key}, headers={"accept": "text/html"})
        assert f'action="/pochade{ENTER}"' in door.text
        origin = address.removesuffix("/pochade")
        entered = browser.post(ENTER, data={"key": key}, headers={"origin": origin})
        assert (entered.status_code, entered.headers["location"]) == (303, "/pochade/")
        assert "Path=/pochade" in entered.headers["set-cookie"]
        page = browser.get("/").text
        named = set(re.findall(r'(?:src|href)=\\?"(\.?/[^"\\ ]+)', page))  # Gradio keeps our part as text in a script
        named.discard("/manifest.json")  # Gradio always asks for it at the root; nothing depends on it
        assert any("/page/" in part for part in named)
        for part in sorted(named):
            where = f"{origin}{part}" if part.startswith("/") else f"{address}/{part.removeprefix('./')}"
            assert where.startswith(f"{address}/"), part
            assert browser.get(where).status_code == 200, where
        ticket = studio.drawn(browser)
        assert browser.get(f"/studio/pictures/{ticket['pictures'][0]}/file").status_code == 200
        with browser.stream("GET", "/studio/events") as events:
            message = next(line for line in events.iter_lines() if line.startswith("data: "))
        assert json.loads(message.removeprefix("data: "))["recent"][0]["id"] == ticket["id"]
        assert browser.post("/studio/jobs", json={}, headers={"origin": "https://evil.example"}).status_code == 403
