"""Our own routes, asked whatever their descriptions allow: every answer is a sentence, none a fault of ours.

`POCHADE_EXAMPLES` says how often each is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, Final

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.result import Ok

from studio.request import GenerationRequest
from tests.private import PrivateStudio, private_studio

EXAMPLES: Final = int(os.environ.get("POCHADE_EXAMPLES", "3"))
#: Streams without an end; a deliberately slow password; what asks the network.
LEFT_OUT: Final = ("/studio/events", "/studio/me/password", "/studio/hub/", "/studio/invitations/", "/studio/sessions/")


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateStudio]:
    with private_studio(tmp_path_factory.mktemp("schema")) as studio:
        yield studio


def described(studio: PrivateStudio) -> dict[str, Any]:
    """The app's own description, with what is known of the bodies its routes read for themselves."""
    app: Any = studio.gate.app
    while not isinstance(app, FastAPI):
        app = app.app
    schema: dict[str, Any] = app.openapi()
    job = GenerationRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.setdefault("components", {}).setdefault("schemas", {}).update(job.pop("$defs", {}))
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method == "post" and "requestBody" not in operation:
                body = job if path == "/studio/jobs" else {"type": "object"}
                operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return schema


def operations(studio: PrivateStudio) -> list[APIOperation[Any, Any, Any, Any]]:
    schema = schemathesis.openapi.from_dict(described(studio))
    found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    return [operation for operation in found if not operation.path.startswith(LEFT_OUT)]


def ask(client: httpx.Client, case: Case[Any]) -> httpx.Response:
    wish = case.as_transport_kwargs(base_url=str(client.base_url))
    wish.pop("cookies", None)
    headers = {str(name): str(value) for name, value in dict(wish.pop("headers", None) or {}).items()}
    headers = {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}
    return client.request(
        wish["method"],
        wish["url"],
        params=wish.get("params"),
        headers=headers,
        **({"json": wish["json"]} if "json" in wish else {"content": wish.get("data") or b""}),
    )


@pytest.mark.parametrize("who", ["owner", "guest"])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_every_route_answers_with_a_sentence(private: PrivateStudio, who: str, mode: GenerationMode) -> None:
    asked: dict[str, int] = {}
    faults: list[str] = []

    def examine(case: Case[Any]) -> None:
        try:
            answer = ask(client, case)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
            return  # what no browser could send either
        asked[case.operation.label] = answer.status_code
        if answer.status_code >= 500 and case.path != "/healthz":
            faults.append(f"{case.operation.label}: {answer.status_code} {answer.text[:300]} for {answer.request.url}")
        elif answer.status_code >= 400:
            told = answer.json() if answer.headers["content-type"] == "application/json" else {}
            if set(told) != {"error"} or not isinstance(told["error"], str) or "Traceback" in told["error"]:
                faults.append(f"{case.operation.label}: {answer.status_code} {answer.text[:300]}")

    def examined(operation: APIOperation[Any, Any, Any, Any]) -> None:
        calm = settings(
            max_examples=EXAMPLES,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        with suppress(Unsatisfiable):  # of a route that takes anything, nothing is unfitting
            calm(given(operation.as_strategy(generation_mode=mode))(examine))()
        private.jobs.clear(None)

    with closing(private.owner() if who == "owner" else private.guest("Ann")) as client:
        for operation in operations(private):
            examined(operation)
    assert not faults, "\n".join(faults)
    assert len(asked) > (50 if mode is GenerationMode.POSITIVE else 20), "most routes were reached"


def test_what_is_left_out_is_there(private: PrivateStudio) -> None:
    paths = described(private)["paths"]
    for start in LEFT_OUT:
        assert any(path.startswith(start) for path in paths), start
