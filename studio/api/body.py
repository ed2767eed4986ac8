"""Reading what a client sends, within bounds and with a sentence for what is wrong with it."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from studio.errors import BadRequest, TooLarge
from studio.plan import sentence

Model = TypeVar("Model", bound=BaseModel)


async def read(request: Request, limit: int) -> bytes:
    """At most `limit` bytes, whatever the client announced.

    Raises:
        TooLarge: there are more.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"This request is larger than {limit / 2**20:g} MB; send smaller pictures.")
        parts.append(part)
    return b"".join(parts)


def parse(model: type[Model], body: bytes) -> Model:
    """Raises:
    BadRequest: what is wrong with the JSON, or with which of its fields.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as invalid:
        raise BadRequest(sentence(invalid)) from invalid
