"""Invitations, people, sessions and what is shown to whom, over HTTP; the link of an invitation is told once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlencode

import segno
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from studio.access import OWNER, Scope, owner_of, person_of, require
from studio.api import body
from studio.api.pictures import brief, without_settings
from studio.errors import BadRequest, Forbidden, NotFound
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.people import DAY, EVERYONE, People
from studio.people_store import Invitation, Session

_MAX_BODY: Final = 8192
_AT_HOME: Final = (
    "Nobody is asked to sign in at this address, so there is nothing to invite to; start the studio with --share, "
    "--host 0.0.0.0 or --sign-in on."
)
Name = Annotated[str, Field(min_length=1, max_length=80)]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Invite(_Sent):
    name: Name
    scope: Annotated[Scope, Field(strict=False)] = Scope.GENERATE
    days: Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)] | None = 7
    browsers: Annotated[int, Field(ge=1, le=1000)] | None = 1
    group: bool = False
    person: Annotated[str, Field(max_length=80)] | None = None


class _Password(_Sent):
    name: Name
    password: Annotated[str, Field(max_length=1000)]


class _Show(_Sent):
    to: Annotated[str, Field(max_length=80)] = EVERYONE
    on: bool = True
    prompt: bool = False


def router(people: People, jobs: Jobs, gallery: Gallery, root: str, *, asked: bool) -> APIRouter:
    """`root`: where a proxy serves the studio. `asked`: whether one must sign in at all."""
    routes = APIRouter(prefix="/studio")

    @routes.get("/me")
    def me(request: Request) -> dict[str, object]:
        person = person_of(request)
        return {"id": person.id, "name": person.name, "scope": person.scope, "signed_in": asked}

    @routes.post("/me/password")
    async def password(request: Request) -> dict[str, object]:
        sent = body.parse(_Password, await body.read(request, _MAX_BODY))
        if not asked:
            raise BadRequest(_AT_HOME)
        await run_in_threadpool(people.set_password, owner_of(request), sent.name, sent.password)
        return {"name": sent.name}

    @routes.get("/sessions")
    def sessions(request: Request) -> dict[str, object]:
        """The owner sees everybody's browsers, others theirs."""
        me, here = owner_of(request), request.scope["state"].get("session")
        mine = [session for session in people.sessions() if me in (OWNER, session.person.id)]
        mine.sort(key=lambda session: session.seen, reverse=True)
        return {"items": [_session(session, here) for session in mine]}

    @routes.post("/sessions/{session}/end")
    def end(session: str, request: Request) -> dict[str, object]:
        me = owner_of(request)
        people.end_session(session, None if me == OWNER else me)
        return {"ended": session}

    @routes.get("/people")
    def everybody(request: Request) -> dict[str, object]:
        only_owner(request)
        usage, here = jobs.usage(), {session.person.id for session in people.sessions()}
        items = []
        for person in people.people():
            had, pictures, last = usage.get(person.id, (0, 0, ""))
            items.append(
                {
                    "id": person.id,
                    "name": person.name,
                    "scope": person.scope,
                    "signed_in": person.id in here,
                    "jobs": had,
                    "pictures": pictures,
                    "last": last,
                }
            )
        return {"items": items}

    @routes.post("/people/{person}/revoke")
    def revoke_person(person: str, request: Request) -> dict[str, object]:
        only_owner(request)
        people.revoke_person(person)
        return {"revoked": person, "cancelled": jobs.clear(person)}

    @routes.get("/invitations")
    def invitations(request: Request) -> dict[str, object]:
        only_owner(request)
        return {"items": [_invitation(invitation) for invitation in people.invitations()]}

    @routes.post("/invitations", status_code=201)
    async def invite(request: Request) -> dict[str, object]:
        only_owner(request)
        sent = body.parse(_Invite, await body.read(request, _MAX_BODY))
        if not asked:
            raise BadRequest(_AT_HOME)

        def make() -> tuple[Invitation, str]:
            lasts = None if sent.days is None else sent.days * DAY
            return people.invite(
                sent.name, sent.scope, lasts=lasts, browsers=sent.browsers, group=sent.group, person=sent.person
            )

        invitation, key = await run_in_threadpool(make)
        link = f"{request.base_url.scheme}://{request.base_url.netloc}{root}/?{urlencode({'key': key})}"
        return {**_invitation(invitation), "link": link, "qr": qr(link)}

    @routes.post("/invitations/{invitation}/revoke")
    def revoke_invitation(invitation: str, request: Request) -> dict[str, object]:
        only_owner(request)
        people.revoke_invitation(invitation)
        return {"revoked": invitation}

    @routes.get("/shown")
    def shown(request: Request) -> dict[str, object]:
        """What others let this person see."""
        me, items = owner_of(request), []
        for picture in people.shown_to(me):
            try:
                record = gallery.record(picture)
            except NotFound:
                continue
            if record.owner != me and not record.trashed:
                told = brief(record)
                items.append(told if me == OWNER or people.tells_prompt(picture, me) else without_settings(told))
        return {"items": items}

    @routes.get("/pictures/{picture}/shown")
    def audience(picture: str, request: Request) -> dict[str, object]:
        """Who sees it besides its owner; to name others is for the studio's owner."""
        me = owner_of(request)
        record = gallery.record(picture, None if me == OWNER else me)
        seen = people.audience(record.id)
        named = {person.id: person.name for person in people.people()} if me == OWNER else {}
        choices = [{"id": EVERYONE, "name": "Everyone who comes in"}]
        choices += [{"id": one, "name": name} for one, name in named.items() if one not in (OWNER, record.owner)]
        if me != OWNER:
            choices.append({"id": OWNER, "name": "The studio's owner"})
        return {"choices": [{**one, "on": one["id"] in seen, "prompt": seen.get(one["id"], False)} for one in choices]}

    @routes.post("/pictures/{picture}/show")
    async def show(picture: str, request: Request) -> dict[str, object]:
        sent = body.parse(_Show, await body.read(request, _MAX_BODY))
        me = owner_of(request)

        def note() -> None:
            record = gallery.record(picture, None if me == OWNER else me)
            if me != OWNER and sent.to not in (EVERYONE, OWNER):
                raise Forbidden("Guests show a picture to everyone or to the studio's owner.")
            people.show(record.id, sent.to, sent.on, prompt=sent.prompt)

        await run_in_threadpool(note)
        return {"picture": picture, "to": sent.to, "on": sent.on}

    return routes


def only_owner(request: Request, of: Callable[[Request], str] = owner_of) -> None:
    """Raises:
    Forbidden: somebody else asks.
    """
    if of(request) != OWNER:
        raise Forbidden("Only the studio's owner can do that.")


def viewers_only_look(request: Request) -> None:
    """For routes that know no scopes themselves.

    Raises:
        Forbidden: who may not draw would set something going.
    """
    if request.method not in ("GET", "HEAD"):
        require(request, Scope.GENERATE)


def qr(link: str) -> str:
    """The link as a picture for a phone's camera, as a data URL."""
    return str(segno.make(link, error="m").svg_data_uri(scale=6, border=4, dark="#000", light="#fff"))


def _invitation(invitation: Invitation) -> dict[str, object]:
    return {
        "id": invitation.id,
        "name": invitation.name,
        "scope": invitation.scope,
        "person": invitation.person,
        "browsers": invitation.browsers,
        "used": invitation.used,
        "created": _when(invitation.created),
        "expires": None if invitation.expires is None else _when(invitation.expires),
        "revoked": invitation.revoked,
    }


def _session(session: Session, here: Session | None) -> dict[str, object]:
    return {
        "id": session.id,
        "person": session.person.id,
        "name": session.person.name,
        "scope": session.person.scope,
        "browser": session.browser,
        "created": _when(session.created),
        "seen": _when(session.seen),
        "expires": _when(min(session.expires, session.ends)),
        "here": here is not None and here.id == session.id,
    }


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
