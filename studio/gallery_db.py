"""The gallery's tables: numbered migrations, how a row reads as a `Record`, how words are searched."""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from studio.request import INPUTS, MAX_CONTROLS, ResolvedRequest

#: Append only: number n is applied once to every database, in order, and recorded.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE pictures (
            serial INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, path TEXT NOT NULL UNIQUE,
            job TEXT NOT NULL, number INTEGER NOT NULL, owner TEXT NOT NULL, created TEXT NOT NULL,
            day TEXT NOT NULL, counter INTEGER NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
            model TEXT NOT NULL, title TEXT NOT NULL, seed TEXT NOT NULL, seconds REAL NOT NULL,
            prompt TEXT NOT NULL, full_prompt TEXT NOT NULL, full_negative TEXT NOT NULL,
            request TEXT NOT NULL, infotext TEXT NOT NULL, favourite INTEGER NOT NULL DEFAULT 0,
            trashed INTEGER NOT NULL DEFAULT 0, missing INTEGER NOT NULL DEFAULT 0)""",
        "CREATE UNIQUE INDEX pictures_by_job ON pictures (job, number) WHERE job != ''",
        "CREATE INDEX pictures_by_owner ON pictures (owner, id)",
        "CREATE INDEX pictures_by_model ON pictures (model, id)",
        "CREATE INDEX pictures_by_day ON pictures (day, id)",
        "CREATE INDEX pictures_favourite ON pictures (id) WHERE favourite = 1",
        "CREATE INDEX pictures_trashed ON pictures (id) WHERE trashed = 1",
        "CREATE INDEX pictures_facets ON pictures (owner, trashed, missing, model, day, title, favourite)",
        "CREATE INDEX pictures_known ON pictures (path, id, missing)",
        """CREATE VIRTUAL TABLE words USING fts5(
            full_prompt, full_negative, title, model, content='pictures', content_rowid='serial',
            tokenize="unicode61 remove_diacritics 2", prefix='2 3')""",
        """CREATE TRIGGER words_insert AFTER INSERT ON pictures BEGIN
            INSERT INTO words (rowid, full_prompt, full_negative, title, model)
            VALUES (new.serial, new.full_prompt, new.full_negative, new.title, new.model); END""",
        """CREATE TRIGGER words_delete AFTER DELETE ON pictures BEGIN
            INSERT INTO words (words, rowid, full_prompt, full_negative, title, model)
            VALUES ('delete', old.serial, old.full_prompt, old.full_negative, old.title, old.model); END""",
    ),
    ("ALTER TABLE pictures ADD COLUMN trashed_at TEXT NOT NULL DEFAULT ''",),
)
COLUMNS: Final = (
    *("id", "path", "job", "number", "owner", "created", "day", "counter", "width", "height", "model", "title", "seed"),
    *("seconds", "prompt", "full_prompt", "full_negative", "request", "infotext", "favourite", "trashed", "missing"),
)
SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM pictures"
_SCRIPTS_WITHOUT_SPACES: Final = re.compile(r"[฀-໿က-႟ក-៿぀-ヿ㐀-鿿豈-﫿\U00020000-\U0003ffff]")
_MOST_TERMS: Final = 12
_REFERENCE: Final = re.compile(r"sha256:[0-9a-f]{64}")

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Record:
    """One picture. `path` is relative to the gallery's folder, `created` UTC in ISO 8601, `seconds` the time it took.

    `request` is None for a picture of another program that does not say enough. Its input pictures are left out and
    named in `inputs` (field → SHA-256); `Gallery.request` puts them back. `job` is empty for a picture that came by
    itself.
    """

    id: str
    path: str
    job: str
    index: int
    owner: str
    created: str
    day: str
    counter: int
    width: int
    height: int
    model: str
    title: str
    seed: int
    seconds: float
    prompt: str
    full_prompt: str
    full_negative: str
    request: ResolvedRequest | None
    inputs: dict[str, str]
    infotext: str
    favourite: bool
    trashed: bool
    missing: bool


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the `before` of the following page, `None` on the last."""

    items: tuple[Record, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Facets:
    """What can be filtered by, with the number of pictures: models as (key, title, count), days newest first."""

    models: tuple[tuple[str, str, int], ...]
    days: tuple[tuple[str, int], ...]
    favourites: int
    trashed: int
    missing: int


def insert(db: sqlite3.Connection, row: Row) -> None:
    db.execute(f"INSERT INTO pictures ({', '.join(COLUMNS)}) VALUES (:{', :'.join(COLUMNS)})", row)


def record(row: sqlite3.Row) -> Record:
    try:
        request = json.loads(row["request"])
    except ValueError:
        request = None
    inputs = _parted(request)
    try:
        resolved = ResolvedRequest.model_validate(request)
    except ValidationError:
        resolved = None  # of another program, or of a version with other fields
    return Record(
        id=row["id"],
        path=row["path"],
        job=row["job"],
        index=row["number"],
        owner=row["owner"],
        created=row["created"],
        day=row["day"],
        counter=row["counter"],
        width=row["width"],
        height=row["height"],
        model=row["model"],
        title=row["title"],
        seed=int(row["seed"]) if row["seed"].isdecimal() else 0,
        seconds=row["seconds"],
        prompt=row["prompt"],
        full_prompt=row["full_prompt"],
        full_negative=row["full_negative"],
        request=resolved,
        inputs={name: value.removeprefix("sha256:") for name, value in inputs.items()},
        infotext=row["infotext"],
        favourite=bool(row["favourite"]),
        trashed=bool(row["trashed"]),
        missing=bool(row["missing"]),
    )


def _parted(request: Any) -> dict[str, str]:
    """Take the references to input pictures out of a request's values; by the names of `GenerationRequest.pictures`."""
    inputs: dict[str, str] = {}
    if not isinstance(request, dict):
        return inputs
    units = request.get("controls")
    units = units[:MAX_CONTROLS] if isinstance(units, list) else []
    places = [(request, name, name) for name in INPUTS]
    places += [(unit, "image", f"control{n}") for n, unit in enumerate(units, 1) if isinstance(unit, dict)]
    for holder, field, name in places:
        if _REFERENCE.fullmatch(str(holder.get(field))):
            inputs[name] = holder.pop(field)
    return inputs


def one(db: sqlite3.Connection, condition: str, *values: object) -> Record | None:
    row = db.execute(f"{SELECT} WHERE {condition}", values).fetchone()
    return record(row) if row else None


def many(db: sqlite3.Connection, condition: str, values: Sequence[object]) -> tuple[Record, ...]:
    return tuple(map(record, db.execute(f"{SELECT} WHERE {condition}", values)))


def older(db: sqlite3.Connection, moment: str, but: str) -> tuple[Record, ...]:
    """Made before `moment` by others than `but`, and neither favourite nor in the trash."""
    condition = "created < ? AND owner NOT IN (?, '') AND favourite = 0 AND trashed = 0 AND missing = 0 ORDER BY id"
    return many(db, condition, [moment, but])


def trashed_before(db: sqlite3.Connection, moment: str, now: str) -> tuple[Record, ...]:
    """In the trash since before `moment`; what came there unseen is taken to have come `now`."""
    db.execute("UPDATE pictures SET trashed_at = ? WHERE trashed = 1 AND trashed_at = ''", [now])
    return many(db, "trashed = 1 AND trashed_at < ? AND favourite = 0 AND missing = 0 ORDER BY id", [moment])


def paths(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Owner and path of every picture that is there."""
    return [(row["owner"], row["path"]) for row in db.execute("SELECT owner, path FROM pictures WHERE missing = 0")]


def about(text: str) -> tuple[list[str], list[object]]:
    """Conditions and their values for pictures whose words hold every word of `text`, the last one as a beginning.

    What the artist types is never query syntax. Words of scripts without spaces, and signs that are no letters, are
    looked up inside the prompt instead: the tokenizer cannot cut them out.
    """
    terms = text.replace("\0", " ").split()[:_MOST_TERMS]
    words: list[str] = []
    inside: list[str] = []
    for term in terms:
        indexed = any(unicodedata.category(c)[0] in "LN" for c in term) and not _SCRIPTS_WITHOUT_SPACES.search(term)
        (words if indexed else inside).append(term)
    conditions, values = ["instr(full_prompt, ?) > 0"] * len(inside), list[object](inside)
    if words:
        quoted = ['"' + word.replace('"', '""') + '"' for word in words]
        star = "*" if words[-1] == terms[-1] else ""
        conditions.append("serial IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(quoted) + star)
    return conditions, values


def facets(db: sqlite3.Connection, owner: str | None) -> Facets:
    shown = "trashed = 0 AND missing = 0" + (" AND owner = :owner" if owner is not None else "")
    owned = "owner = :owner" if owner is not None else "1"
    values = {"owner": owner}
    models = db.execute(
        f"SELECT model, max(title), count(*) FROM pictures WHERE {shown} GROUP BY model ORDER BY 3 DESC, 1", values
    )
    days = db.execute(f"SELECT day, count(*) FROM pictures WHERE {shown} GROUP BY day ORDER BY day DESC", values)
    sums = db.execute(
        f"""SELECT coalesce(sum(favourite AND NOT trashed AND NOT missing), 0),
            coalesce(sum(trashed AND NOT missing), 0), coalesce(sum(missing), 0) FROM pictures WHERE {owned}""",
        values,
    ).fetchone()
    return Facets(tuple(map(tuple, models)), tuple(map(tuple, days)), *sums)


def counted(db: sqlite3.Connection, day: str) -> int:
    """The last number given to a picture of that day; at least the number of its pictures."""
    row = db.execute("SELECT max(coalesce(max(counter), 0), count(*)) FROM pictures WHERE day = ?", (day,)).fetchone()
    return int(row[0])
