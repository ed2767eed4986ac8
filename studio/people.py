"""Who has been invited, who came, and in which browsers they are signed in; what was shown to whom."""

from __future__ import annotations

import hashlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from studio.access import AT_HOME, OWNER, Person, Scope
from studio.errors import BadRequest, NotFound
from studio.people_store import Entry, Invitation, PeopleStore, Session, as_invitation, as_person, as_session, insert

log = logging.getLogger(__name__)

DAY: Final = 86_400.0
#: Seconds after which a browser that has not been seen must sign in again.
IDLE: Final = 30 * DAY
#: Seconds after which every browser must.
LONGEST: Final = 180 * DAY
#: Seconds between two notes on the disk that a browser is still here.
_NOTE_EVERY: Final = 3600.0
SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256
#: Somebody who was shown a picture without being named.
EVERYONE: Final = "*"


class People:
    """Thread-safe. Looking up a session touches no disk, so every request can afford it.

    Raises:
        DiskFull, ReadOnly: from all that change something.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._store = PeopleStore(path)
        self._hasher = PasswordHasher()
        self._hashing = threading.BoundedSemaphore(2)  # each check takes 64 MiB
        self._nobody = self._hasher.hash(secrets.token_urlsafe())
        self._listeners: list[Callable[[str], None]] = []
        self._sessions: dict[str, Session] = {}
        with self._lock:
            if not self._store.rows("SELECT 1 FROM person WHERE id = ?", OWNER):
                self._store.insert("person", id=OWNER, name=AT_HOME.name, scope=Scope.OWNER, created=clock())
            self._store.change("DELETE FROM session WHERE min(expires, ends) <= ?", clock())
            for row in self._store.rows("SELECT * FROM session"):
                self._sessions[row["token_hash"]] = as_session(row, self.person(row["person"]))

    def close(self) -> None:
        with self._lock:
            self._store.close()

    def on_end(self, listener: Callable[[str], None]) -> None:
        """Have `listener` called with the id of every session that is ended, from whichever thread ended it."""
        self._listeners.append(listener)

    # ── coming in ──

    def enter(self, key: str, browser: str = "") -> Entry | None:
        """Exchange an invitation's key for a session; None if it is wrong, spent, expired or revoked."""
        with self._lock:
            rows = self._store.rows("SELECT * FROM invitation WHERE key_hash = ?", _hash(key))
            if not rows:
                return None
            invitation, now = as_invitation(rows[0]), self._clock()
            expired = invitation.expires is not None and invitation.expires <= now
            spent = invitation.browsers is not None and invitation.used >= invitation.browsers
            if invitation.revoked or expired or spent:
                return None
            with self._store.changes() as db:
                db.execute("UPDATE invitation SET used = used + 1 WHERE id = ?", (invitation.id,))
                guest = invitation.person or f"guest-{secrets.token_hex(8)}"
                if invitation.person is None:
                    name = f"{invitation.name} {invitation.used + 1}"
                    insert(
                        db, "person", id=guest, name=name, scope=invitation.scope, invitation=invitation.id, created=now
                    )
                entry = self._begin(db, guest, browser, invitation.id, invitation.expires)
            self._sessions[_hash(entry.token)] = entry.session
            log.info("%s came in by invitation", guest, extra={"person": guest, "invitation": invitation.id})
            return entry

    def sign_in(self, login: str, password: str, browser: str = "") -> Entry | None:
        """A session for an account; None if name or password is wrong. Takes about as long either way."""
        with self._lock:
            rows = self._store.rows("SELECT person, password FROM account WHERE login = ?", _login(login))
        known = rows[0]["password"] if rows else self._nobody
        try:
            with self._hashing:
                self._hasher.verify(known, password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return None
        if not rows:
            return None
        with self._lock:
            person = str(rows[0]["person"])
            current = self._store.rows("SELECT password FROM account WHERE login = ?", _login(login))
            if not current or current[0]["password"] != known:
                return None  # changed or taken away while it was being checked
            with self._store.changes() as db:
                entry = self._begin(db, person, browser, None, None)
            self._sessions[_hash(entry.token)] = entry.session
            return entry

    def session(self, token: str) -> Session | None:
        """The session of a cookie, if it has not ended; noted as seen now."""
        key = _hash(token)
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                return None
            now = self._clock()
            if min(session.expires, session.ends) <= now:
                self._end("id = ?", session.id)
                return None
            if now - session.seen >= _NOTE_EVERY:
                session = replace(session, seen=now, expires=now + IDLE)
                self._sessions[key] = session
                self._store.change(
                    "UPDATE session SET seen = ?, expires = ? WHERE id = ?", now, session.expires, session.id
                )
            return session

    def left(self, session: str) -> float:
        """Seconds until a session ends if it is not seen again; 0 when it has ended."""
        with self._lock:
            for known in self._sessions.values():
                if known.id == session:
                    return max(0.0, min(known.expires, known.ends) - self._clock())
            return 0.0

    # ── inviting ──

    def invite(
        self,
        name: str,
        scope: Scope,
        *,
        lasts: float | None = 7 * DAY,
        browsers: int | None = 1,
        group: bool = False,
        person: str | None = None,
        terminal: bool = False,
    ) -> tuple[Invitation, str]:
        """An invitation and its key, which cannot be read again.

        Args:
            lasts: Seconds until it expires, and with it the sessions it opened; None: never.
            browsers: How many may use it; None: any number.
            group: Each browser becomes a person of its own; otherwise all are one person called `name`.
            person: Who is invited, if they are known already.
        """
        name = _name(name)
        key, now = secrets.token_urlsafe(32), self._clock()
        identifier = secrets.token_hex(8)
        with self._lock, self._store.changes() as db:
            if scope is Scope.OWNER:
                person = OWNER
            elif person is not None and self.person(person).scope is not scope:
                raise BadRequest("This person has another scope; revoke them and invite them anew to change it.")
            insert(
                db,
                "invitation",
                id=identifier,
                name=name,
                scope=scope,
                key_hash=_hash(key),
                browsers=browsers,
                created=now,
                expires=None if lasts is None else now + lasts,
                terminal=int(terminal),
            )
            if person is None and not group:
                person = f"guest-{secrets.token_hex(8)}"
                insert(db, "person", id=person, name=name, scope=scope, invitation=identifier, created=now)
            db.execute("UPDATE invitation SET person = ? WHERE id = ?", (person, identifier))
            row = db.execute("SELECT * FROM invitation WHERE id = ?", (identifier,)).fetchone()
        return as_invitation(row), key

    def terminal_keys(self) -> tuple[str, str]:
        """The owner's key and one for friends, as printed at each start; those of the last start are void."""
        with self._lock:
            self._store.change("UPDATE invitation SET revoked = 1 WHERE terminal = 1")
            _, owner = self.invite("Terminal", Scope.OWNER, lasts=None, browsers=None, terminal=True)
            _, friends = self.invite("Friend", Scope.GENERATE, lasts=None, browsers=None, group=True, terminal=True)
            return owner, friends

    def invitations(self) -> tuple[Invitation, ...]:
        """Newest first, those of earlier starts' terminals left out."""
        with self._lock:
            rows = self._store.rows(
                "SELECT * FROM invitation WHERE NOT (terminal AND revoked) ORDER BY created DESC, id"
            )
            return tuple(map(as_invitation, rows))

    # ── showing the door ──

    def revoke_invitation(self, invitation: str) -> None:
        """The key is void, and so is every session it opened, at once.

        Raises:
            NotFound: no such invitation.
        """
        with self._lock:
            if not self._store.change("UPDATE invitation SET revoked = 1 WHERE id = ?", invitation):
                raise NotFound("There is no such invitation.")
            self._end("invitation = ?", invitation)

    def revoke_person(self, person: str) -> None:
        """They are out, at once: sessions, account and invitations of theirs. What they drew stays.

        Raises:
            NotFound: no such person.
            BadRequest: the owner cannot be shown the door.
        """
        if person == OWNER:
            raise BadRequest("The owner cannot be shown the door; end single sessions instead.")
        with self._lock:
            with self._store.changes() as db:
                if not db.execute("UPDATE person SET revoked = 1 WHERE id = ?", (person,)).rowcount:
                    raise NotFound("There is no such person.")
                db.execute("DELETE FROM account WHERE person = ?", (person,))
                db.execute("UPDATE invitation SET revoked = 1 WHERE person = ?", (person,))
            self._end("person = ?", person)

    def end_session(self, session: str, person: str | None = None) -> None:
        """Sign one browser out; with `person` only if it is theirs.

        Raises:
            NotFound: no such session.
        """
        with self._lock:
            if not self._end("id = ? AND ? IN (person, '')", session, person or ""):
                raise NotFound("There is no such session.")

    def people(self) -> tuple[Person, ...]:
        with self._lock:
            rows = self._store.rows("SELECT * FROM person WHERE NOT revoked ORDER BY created, id")
            return tuple(as_person(row) for row in rows)

    def person(self, person: str) -> Person:
        """Raises:
        NotFound: no such person, or they were shown the door.
        """
        with self._lock:
            rows = self._store.rows("SELECT * FROM person WHERE id = ? AND NOT revoked", person)
        if not rows:
            raise NotFound("There is no such person.")
        return as_person(rows[0])

    def sessions(self) -> tuple[Session, ...]:
        with self._lock:
            now = self._clock()
            return tuple(session for session in self._sessions.values() if min(session.expires, session.ends) > now)

    # ── accounts ──

    def set_password(self, person: str, login: str, password: str) -> None:
        """Give a person a name and password to come back with; earlier ones of theirs are void.

        Raises:
            BadRequest: the name is taken, or one of the two will not do.
        """
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise BadRequest(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.")
        login = _login(_name(login))
        with self._hashing:
            hashed = self._hasher.hash(password)
        with self._lock, self._store.changes() as db:
            self.person(person)
            taken = db.execute("SELECT 1 FROM account WHERE login = ? AND person != ?", (login, person)).fetchone()
            if taken:
                raise BadRequest("This name is taken; choose another.")
            db.execute("DELETE FROM account WHERE person = ?", (person,))
            insert(db, "account", login=login, person=person, password=hashed)

    # ── showing pictures ──

    def show(self, picture: str, to: str, on: bool = True, *, prompt: bool = False) -> None:
        """Let somebody (or `EVERYONE` who has come in) see a picture, with its settings or without, or no longer."""
        with self._lock:
            if to != EVERYONE:
                self.person(to)
            if on:
                self._store.change(
                    "INSERT OR REPLACE INTO shown VALUES (?, ?, ?, ?)", picture, to, self._clock(), int(prompt)
                )
            else:
                self._store.change("DELETE FROM shown WHERE picture = ? AND person = ?", picture, to)

    def is_shown(self, picture: str, person: str) -> bool:
        with self._lock:
            query = "SELECT 1 FROM shown WHERE picture = ? AND person IN (?, ?)"
            return bool(self._store.rows(query, picture, person, EVERYONE))

    def tells_prompt(self, picture: str, person: str) -> bool:
        """Whether it was shown to them together with the settings it was made with."""
        with self._lock:
            query = "SELECT max(prompt) AS told FROM shown WHERE picture = ? AND person IN (?, ?)"
            return bool(self._store.rows(query, picture, person, EVERYONE)[0]["told"])

    def audience(self, picture: str) -> dict[str, bool]:
        """To whom a picture is shown, and whether its settings are."""
        with self._lock:
            rows = self._store.rows("SELECT person, prompt FROM shown WHERE picture = ?", picture)
            return {str(row["person"]): bool(row["prompt"]) for row in rows}

    def shown_to(self, person: str, limit: int = 200) -> tuple[str, ...]:
        """Ids of the pictures, the one shown last first."""
        with self._lock:
            query = "SELECT picture, max(at) FROM shown WHERE person IN (?, ?) GROUP BY picture ORDER BY 2 DESC LIMIT ?"
            return tuple(row["picture"] for row in self._store.rows(query, person, EVERYONE, limit))

    # ── under the lock ──

    def _begin(
        self, db: sqlite3.Connection, person: str, browser: str, invitation: str | None, ends: float | None
    ) -> Entry:
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(
            id=secrets.token_hex(8),
            person=self.person(person),
            invitation=invitation,
            browser=browser[:200],
            created=now,
            seen=now,
            expires=now + IDLE,
            ends=min(now + LONGEST, ends or float("inf")),
        )
        insert(
            db,
            "session",
            id=session.id,
            token_hash=_hash(token),
            person=person,
            invitation=invitation,
            browser=session.browser,
            created=now,
            seen=now,
            expires=session.expires,
            ends=session.ends,
        )
        return Entry(token, session)

    def _end(self, condition: str, *values: object) -> bool:
        ended = self._store.rows(f"SELECT id, token_hash FROM session WHERE {condition}", *values)
        self._store.change(f"DELETE FROM session WHERE {condition}", *values)
        for row in ended:
            self._sessions.pop(row["token_hash"], None)
        for row in ended:
            for listener in self._listeners:
                listener(row["id"])
        return bool(ended)


def _hash(key: str) -> str:
    # Keys are 256 random bits, so one round of SHA-256 is enough; passwords get argon2id.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _login(name: str) -> str:
    return name.strip().casefold()


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise BadRequest("A name has 1 to 80 printable characters.")
    return name
