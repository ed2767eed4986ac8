"""Who somebody is and what they may do: the words the gate, the routes and the queue share."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from starlette.requests import Request

from studio.errors import Forbidden

#: Bytes of a request's body.
MAX_BODY: Final = 64 * 2**20
#: The owner's id: of the studio, and of what its owner makes in it.
OWNER: Final = "owner"


class Scope(StrEnum):
    """What an invitation allows; each includes those before it."""

    VIEW = "view"  # pictures shown to them
    REMIX = "remix"  # variations, pans and zooms of those pictures
    GENERATE = "generate"  # their own prompts and pictures
    OWNER = "owner"  # everything of everybody

    def allows(self, needed: Scope) -> bool:
        order = tuple(Scope)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Person:
    """`id` is opaque and lasting: it owns jobs and pictures, and is written into their files. `name` is for people."""

    id: str
    name: str
    scope: Scope


#: Whoever sits at the machine.
AT_HOME: Final = Person(OWNER, "Owner", Scope.OWNER)


def person_of(request: Request) -> Person:
    """The person behind a request that passed the gate."""
    person: Person = request.scope["state"]["person"]
    return person


def owner_of(request: Request) -> str:
    return person_of(request).id


def require(request: Request, scope: Scope) -> Person:
    """Raises:
    Forbidden: their invitation does not reach that far.
    """
    person = person_of(request)
    if not person.scope.allows(scope):
        raise Forbidden(REFUSALS[scope])
    return person


REFUSALS: Final = {
    Scope.VIEW: "Your invitation does not let you look around; ask the studio's owner.",
    Scope.REMIX: "Your invitation lets you look, not draw; ask the studio's owner for more.",
    Scope.GENERATE: "Your invitation lets you vary pictures you are shown, not start your own; ask the studio's owner.",
    Scope.OWNER: "Only the studio's owner can do that.",
}


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
