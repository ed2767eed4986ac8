"""The gallery: pictures are files in folders by day, one SQLite file finds them again.

Nothing is ever deleted, except from the trash by a rule of the owner's (`retention`).
"""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from studio import gallery_db, gallery_files, gallery_origin, image
from studio.errors import NotFound, ReadOnly, StudioError, UnreadablePicture
from studio.gallery_db import Facets, Page, Record, Row
from studio.gallery_origin import Finish, Finishing, Origin
from studio.gallery_reconcile import PICTURES, TRASH, Reconciliation, rebuild, reconcile
from studio.gallery_store import Database
from studio.request import GenerationResult, Picture, ResolvedRequest

log = logging.getLogger(__name__)

DATABASE: Final = "gallery.sqlite3"
#: Lies in the pictures folder. Where it is gone, the disk is not plugged in rather than everything deleted.
MARKER: Final = ".pochade"
_LARGEST: Final = 200_000_000
_MOST_ON_A_PAGE: Final = 500


class Gallery:
    """Thread-safe. Every method that names a picture takes its `owner` too: another's is answered as one that is not.

    Raises:
        NotFound: from all that take an id.
        DiskFull, ReadOnly: from all that write; they have changed nothing then and left no torn file.
    """

    def __init__(self, folder: Path, filename: str, finish: Finish = gallery_origin.plain) -> None:
        """Opens or creates the gallery; one that cannot be written or is damaged opens for reading (see `health`).

        Raises:
            BadRequest: `filename` is no pattern for file names.
        """
        gallery_files.check_pattern(filename)
        self._folder = folder.absolute()
        self._filename = filename
        self._finish = finish
        self._adding = threading.RLock()
        self._counters: dict[str, int] = {}
        self._unrecorded: dict[tuple[str, int], Row] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        with suppress(OSError):
            gallery_files.make_folder(self._folder)
        self._database = Database(self._folder / DATABASE)
        self._last_id = ""
        self._begin()

    def close(self) -> None:
        self._database.close()
        if self._scratch:
            self._scratch.cleanup()

    @property
    def health(self) -> str:
        """`ok`, or `read-only: ` and a sentence that says why and what helps."""
        trouble = self._trouble()
        return f"read-only: {trouble}" if trouble else "ok"

    def add(
        self, result: GenerationResult, *, job: str, index: int, owner: str, title: str = "", licence: str = ""
    ) -> Record:
        """Keep a picture: its file first, whole and on the disk, then its row. Adding it again changes nothing.

        `title` and `licence` are the model's in the metadata; its key stands in for a title. `owner` is written into
        the file: an opaque name, never a secret.
        """
        with self._adding:
            if known := self._database.read(lambda db: gallery_db.one(db, "job = ? AND number = ?", job, index)):
                self._unrecorded.pop((job, index), None)
                return known
            row = self._unrecorded.get((job, index))
            if row is None or not (self._folder / str(row["path"])).is_file():
                row = self._write(result, job, index, owner, title or result.request.model, licence)
                # Should the row fail, the file is safe: repeating `add`, or the next start, finds it.
                self._unrecorded[job, index] = row
            self._database.write(lambda db: gallery_db.insert(db, row))
            del self._unrecorded[job, index]
            return self.record(str(row["id"]))

    def record(self, picture: str, owner: str | None = None) -> Record:
        found = self._database.read(lambda db: gallery_db.one(db, "id = ?", picture))
        if found is None or owner not in (None, found.owner):
            raise NotFound("There is no such picture in the gallery.")
        return found

    def request(self, picture: str, owner: str | None = None) -> ResolvedRequest:
        """All that is needed to draw the picture again, its input pictures included."""
        record = self.record(picture, owner)
        if record.request is None:
            raise NotFound("This picture does not say how it was made.")
        try:
            inputs = {name: self._input(sha256).read_bytes() for name, sha256 in record.inputs.items()}
        except OSError as gone:
            raise NotFound("The picture this one was made from is no longer in the inputs folder.") from gone
        return record.request.with_pictures({name: Picture.from_bytes(data) for name, data in inputs.items()})

    def path(self, picture: str, owner: str | None = None) -> Path:
        """The picture's file."""
        return self._file(self.record(picture, owner))

    def input(self, picture: str, field: str, owner: str | None = None) -> Path:
        """The file of a picture it was made from; `field` is its name: `init`, `mask`, `control1`, …"""
        sha256 = self.record(picture, owner).inputs.get(field)
        if sha256 is None or not (file := self._input(sha256)).is_file():
            raise NotFound("What this picture was made from is not there.")
        return file

    def thumb(self, picture: str, owner: str | None = None) -> Path:
        """A JPEG of at most 256 pixels a side, made when it is first asked for."""
        record = self.record(picture, owner)
        kept = self._folder / "thumbs" / f"{record.id}.jpg"
        if kept.is_file():
            return kept
        try:
            small = image.thumbnail(image.decode(self._file(record).read_bytes(), _LARGEST))
        except OSError as gone:
            raise NotFound("The file of this picture cannot be read; it may have been moved or deleted.") from gone
        try:
            gallery_files.make_folder(kept.parent)
            gallery_files.write_over(kept, small)
        except OSError:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="pochade-thumbs-")
            kept = Path(self._scratch.name) / kept.name
            kept.write_bytes(small)
        return kept

    def film(self, picture: str, owner: str | None = None) -> Path | None:
        """A JPEG with eight frames side by side, from noise to picture, or None."""
        film = self._film(self.record(picture, owner).id)
        return film if film.is_file() else None

    def search(
        self,
        owner: str | None = None,
        text: str = "",
        model: str | None = None,
        day: str | None = None,
        favourite: bool = False,
        trashed: bool = False,
        before: str | None = None,
        limit: int = 60,
    ) -> Page:
        """Newest first; those whose file is missing are left out.

        `text`: words all of which its prompts or its model's name hold, in any order, the last one as a beginning.
        `day`: YYYY-MM-DD. `before`: the previous page's `next`.
        """
        conditions, values = gallery_db.about(text)
        for condition, value in (("owner", owner), ("model", model), ("day", day)):
            if value is not None:
                conditions.append(f"{condition} = ?")
                values.append(value)
        if before is not None:
            conditions.append("id < ?")
            values.append(before)
        conditions += [f"trashed = {int(trashed)}", "missing = 0", *(["favourite = 1"] if favourite else [])]
        limit = min(max(limit, 1), _MOST_ON_A_PAGE)
        order = f"{' AND '.join(conditions)} ORDER BY id DESC LIMIT {limit + 1}"
        found = self._database.read(lambda db: gallery_db.many(db, order, values))
        return Page(found[:limit], found[limit - 1].id if len(found) > limit else None)

    def facets(self, owner: str | None = None) -> Facets:
        return self._database.read(lambda db: gallery_db.facets(db, owner))

    def of_job(self, job: str) -> tuple[Record, ...]:
        return self._database.read(lambda db: gallery_db.many(db, "job = ? AND job != '' ORDER BY number", [job]))

    def favourite(self, picture: str, on: bool, owner: str | None = None) -> Record:
        record = self.record(picture, owner)
        self._change("UPDATE pictures SET favourite = ? WHERE id = ?", int(on), record.id)
        return replace(record, favourite=on)

    def trash(self, picture: str, owner: str | None = None) -> Record:
        """Move its file to the trash folder, from where `restore` brings it back."""
        return self._move(self.record(picture, owner), TRASH)

    def restore(self, picture: str, owner: str | None = None) -> Record:
        return self._move(self.record(picture, owner), PICTURES)

    def older(self, moment: str, but: str) -> tuple[Record, ...]:
        return self._database.read(lambda db: gallery_db.older(db, moment, but))

    def trashed_before(self, moment: str) -> tuple[Record, ...]:
        now = _now().astimezone(UTC).isoformat(timespec="milliseconds")
        return self._database.write(lambda db: gallery_db.trashed_before(db, moment, now))

    def paths(self) -> list[tuple[str, Path]]:
        """Owner and file of every picture that is there."""
        return [(owner, self._folder / path) for owner, path in self._database.read(gallery_db.paths)]

    def discard(self, picture: str) -> None:
        """Delete a picture from the trash for good, together with its film and thumbnail."""
        with self._adding:
            record = self.record(picture)
            if trouble := self._trouble(retry=True):
                raise ReadOnly(trouble)
            file = self._file(record)
            if not record.trashed or record.favourite or not file.is_file():
                raise NotFound("Only what lies in the trash can be deleted, and no favourite.")
            with gallery_files.sentences(self._folder):
                file.unlink()
            for leftover in (self._film(record.id), self._folder / "thumbs" / f"{record.id}.jpg"):
                with suppress(OSError):
                    leftover.unlink()
            self._change("DELETE FROM pictures WHERE id = ?", record.id)

    def reconcile(self) -> Reconciliation:
        """To be called at start-up: files without rows are adopted, rows without files marked. Deletes nothing.

        Where the pictures folder or its marker is missing, or nothing can be written, nothing is compared.
        """
        with self._adding:
            if trouble := self._trouble():
                return Reconciliation(refused=trouble)
            outcome = reconcile(self._database, self._folder)
            self._begin()
            return outcome

    def rebuild(self) -> Reconciliation:
        """A fresh database from the files; the old one is set aside as `gallery.sqlite3.broken-…`.

        Favourites are kept where the old one can still be read.
        """
        with self._adding:
            with gallery_files.sentences(self._folder):
                self._mark()
            old = self._database
            try:
                self._database, outcome = rebuild(old, self._folder)
            except StudioError:
                old.close()
                self._database = Database(old.file)
                raise
            self._begin()
            return outcome

    def _write(self, result: GenerationResult, job: str, index: int, owner: str, title: str, licence: str) -> Row:
        if trouble := self._trouble(retry=True):
            raise ReadOnly(trouble)
        now = _now()
        day = now.date().isoformat()
        identifier = gallery_origin.new_id(now, after=self._last_id)
        origin = Origin(
            id=identifier,
            job=job,
            index=index,
            owner=owner,
            created=now.astimezone(UTC),
            title=title,
            digest=result.model_digest,
            licence=licence,
            device=result.device,
            seconds=result.seconds,
            request=gallery_origin.detached(result.request),
        )
        chunks = gallery_origin.texts(result, origin)
        data = self._finish(Finishing(result, origin, chunks))
        with gallery_files.sentences(self._folder):
            self._mark()
            for picture in result.request.pictures.values():
                self._keep_input(picture)
            self._keep_film(identifier, result.film)
            try:
                path, counter = self._write_file(result, data, now)
            except OSError:
                with suppress(OSError):
                    self._film(identifier).unlink()
                raise
        self._last_id = identifier
        self._counters[day] = counter
        row = gallery_origin.row((result.width, result.height), chunks, path, now)
        return {**row, "counter": counter}

    def _write_file(self, result: GenerationResult, data: bytes, now: datetime) -> tuple[str, int]:
        day = now.date().isoformat()
        folder = self._folder / PICTURES / day
        gallery_files.make_folder(folder)
        counter = self._counters.get(day) or self._database.read(lambda db: gallery_db.counted(db, day))
        request = result.request
        fields: dict[str, object] = {
            "seed": request.seed,
            "model": request.model,
            "width": result.width,
            "height": result.height,
            "date": day,
            "time": f"{now:%H-%M-%S}",
            "prompt": request.prompt,
        }
        while True:
            counter += 1
            name = gallery_files.file_name(self._filename, {**fields, "number": counter}) or str(counter)
            target = folder / f"{name}.png"
            if "{number" in self._filename:
                if target.exists():
                    continue
            else:
                target = gallery_files.free_name(target)
            with suppress(FileExistsError):
                gallery_files.write_new(target, data)
                return f"{PICTURES}/{day}/{target.name}", counter

    def _keep_input(self, picture: Picture) -> None:
        if not self._input(picture.sha256).exists():
            gallery_files.make_folder(self._folder / "inputs")
            gallery_files.write_over(self._input(picture.sha256), picture.data)

    def _keep_film(self, identifier: str, frames: tuple[bytes, ...]) -> None:
        if not frames:
            return
        try:
            strip = image.film_strip(frames)
        except UnreadablePicture:
            log.exception("a film could not be read; its picture is kept without it")
            return
        gallery_files.make_folder(self._folder / "films")
        gallery_files.write_over(self._film(identifier), strip)

    def _move(self, record: Record, root: str) -> Record:
        with self._adding:
            if record.path.startswith(f"{root}/"):
                return record
            if trouble := self._trouble(retry=True):
                raise ReadOnly(trouble)
            source = self._file(record)
            if not source.is_file():
                raise NotFound("The file of this picture is missing, so it cannot be moved.")
            with gallery_files.sentences(self._folder):
                while True:
                    target = gallery_files.free_name(self._folder / root / record.path.partition("/")[2])
                    with suppress(FileExistsError):
                        gallery_files.move_new(source, target)
                        break
            path = target.relative_to(self._folder).as_posix()
            try:
                at = _now().astimezone(UTC).isoformat(timespec="milliseconds") if root == TRASH else ""
                change = "UPDATE pictures SET path = ?, trashed = ?, trashed_at = ? WHERE id = ?"
                self._change(change, path, int(root == TRASH), at, record.id)
            except StudioError:
                with suppress(OSError):
                    gallery_files.move_new(target, source)
                raise
            return replace(record, path=path, trashed=root == TRASH)

    def _change(self, statement: str, *values: object) -> None:
        self._database.write(lambda db: db.execute(statement, values))

    def _file(self, record: Record) -> Path:
        root = (self._folder / record.path.partition("/")[0]).resolve()
        file = (self._folder / record.path).resolve()
        if not file.is_relative_to(root) or record.path.partition("/")[0] not in (PICTURES, TRASH):
            raise NotFound("There is no such picture in the gallery.")
        return file

    def _film(self, identifier: str) -> Path:
        return self._folder / "films" / f"{identifier}.jpg"

    def _input(self, sha256: str) -> Path:
        return self._folder / "inputs" / f"{Path(sha256).name}.png"

    def _begin(self) -> None:
        """After the rows came from elsewhere."""
        self._counters.clear()
        self._last_id = max(self._last_id, self._database.read(_last_id))
        if not self._last_id and not self._database.trouble:
            with suppress(OSError):
                self._mark()

    def _mark(self) -> None:
        marker = self._folder / PICTURES / MARKER
        gallery_files.make_folder(marker.parent)
        if not marker.exists():
            gallery_files.write_over(
                marker, b"Pochade's pictures. Without this file the folder counts as not mounted.\n"
            )

    def _trouble(self, retry: bool = False) -> str:
        if self._database.trouble and retry and self._database.revive():
            self._begin()
        if self._database.trouble:
            return self._database.trouble
        if self._last_id and not (self._folder / PICTURES / MARKER).is_file():
            return (
                f"The pictures folder {self._folder / PICTURES} is not the one this gallery knows; connect its disk, "
                "or rebuild the gallery from the files that are there."
            )
        return ""


def _last_id(db: sqlite3.Connection) -> str:
    return str(db.execute("SELECT max(id) FROM pictures").fetchone()[0] or "")


def _now() -> datetime:
    return datetime.now().astimezone()
