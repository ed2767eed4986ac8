"""Tidying up by the owner's rules: guests' old pictures go to the trash, what has lain there long enough is deleted.

Favourites are never touched. Where the disk of the pictures is missing, or its marker is, nothing happens at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from studio.access import OWNER
from studio.errors import NotFound, StudioError
from studio.gallery import Gallery
from studio.gallery_db import Record
from studio.rules import Rules

log = logging.getLogger(__name__)

#: Seconds between two rounds.
_EVERY: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Due:
    """Pictures the rules would move to the trash, and those in it they would delete."""

    trash: tuple[Record, ...] = ()
    delete: tuple[Record, ...] = ()


class Retention:
    """Looks every hour in a thread of its own once started; `clock` gives the time in UTC."""

    def __init__(
        self,
        gallery: Gallery,
        rules: Callable[[], Rules],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gallery = gallery
        self._rules = rules
        self._clock = clock
        self._tidying = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def due(self) -> Due:
        """What `tidy` would do now. Nothing while the gallery is not what it was."""
        if self._gallery.health != "ok":
            return Due()
        rules = self._rules()
        return Due(
            trash=() if rules.guest_days is None else self._gallery.older(self._before(rules.guest_days), but=OWNER),
            delete=() if rules.trash_days is None else self._gallery.trashed_before(self._before(rules.trash_days)),
        )

    def tidy(self) -> Due:
        """Do what is due and say what was done; what cannot be done now is left for the next time."""
        with self._tidying:
            due = self.due()
            return Due(
                trash=tuple(one for one in due.trash if self._done(self._gallery.trash, one)),
                delete=tuple(one for one in due.delete if self._done(self._gallery.discard, one)),
            )

    def _done(self, act: Callable[[str], object], record: Record) -> bool:
        if self._closing.is_set():
            return False
        try:
            act(record.id)
        except NotFound:
            return False  # its file is missing, so there is nothing to tidy
        except StudioError as reason:
            log.warning("not tidied up: %s", reason)
            return False
        return True

    def _before(self, days: int) -> str:
        return (self._clock() - timedelta(days=days)).isoformat(timespec="milliseconds")

    def _work(self) -> None:
        while not self._closing.wait(_EVERY):
            with suppress(StudioError):
                done = self.tidy()
                if done.trash or done.delete:
                    log.info("tidied up: %d to the trash, %d deleted", len(done.trash), len(done.delete))
