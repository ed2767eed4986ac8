"""Tidying up: only by the rules, never a favourite, and not at all when a disk is merely missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.errors import BadRequest, NotFound
from studio.gallery import Gallery
from studio.request import GenerationResult
from studio.retention import Retention
from studio.rules import RuleBook, Rules
from tests.fakes import gradient
from tests.resolved import resolved

LATER = timedelta(days=40)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    opened = Gallery(tmp_path, "{number:05d}")
    yield opened
    opened.close()


def add(gallery: Gallery, owner: str, index: int = 0) -> str:
    result = GenerationResult(resolved(seed=index), 64, 64, gradient(index, 64, 64), 1.0, "0123456789", "cpu")
    return gallery.add(result, job=f"{owner}-{index}", index=index, owner=owner).id


def retention(gallery: Gallery, rules: Rules, after: timedelta = LATER) -> Retention:
    return Retention(gallery, lambda: rules, lambda: datetime.now(UTC) + after)


def left(gallery: Gallery, *, trashed: bool = False) -> set[str]:
    return {record.id for record in gallery.search(trashed=trashed).items}


def test_without_rules_nothing_ever_happens(gallery: Gallery) -> None:
    ann, gone = add(gallery, "ann"), add(gallery, "ann", 1)
    gallery.trash(gone)
    done = retention(gallery, Rules(), timedelta(days=9999)).tidy()
    assert (done.trash, done.delete) == ((), ())
    assert left(gallery) == {ann}
    assert left(gallery, trashed=True) == {gone}


def test_guests_old_pictures_go_to_the_trash_and_only_those(gallery: Gallery) -> None:
    mine, hers, loved = add(gallery, "owner"), add(gallery, "ann"), add(gallery, "bob")
    gallery.favourite(loved, on=True)
    tidy = retention(gallery, Rules(guest_days=30))
    assert [record.id for record in tidy.due().trash] == [hers]
    assert left(gallery) == {mine, hers, loved}, "looking moves nothing"
    tidy.tidy()
    assert left(gallery) == {mine, loved}
    assert left(gallery, trashed=True) == {hers}
    assert gallery.restore(hers).trashed is False
    assert retention(gallery, Rules(guest_days=60)).due().trash == ()


def test_what_lay_in_the_trash_long_enough_is_deleted_with_all_that_belongs_to_it(
    gallery: Gallery, tmp_path: Path
) -> None:
    old, loved, kept = (add(gallery, "owner", index) for index in range(3))
    gallery.favourite(loved, on=True)
    for picture in (old, loved):
        gallery.thumb(picture)
        gallery.trash(picture)
    file = gallery.path(old)
    assert retention(gallery, Rules(trash_days=30), timedelta(days=29)).tidy().delete == ()
    done = retention(gallery, Rules(trash_days=30)).tidy()
    assert [record.id for record in done.delete] == [old]
    assert not file.exists()
    assert not (tmp_path / "thumbs" / f"{old}.jpg").exists()
    assert left(gallery, trashed=True) == {loved}
    assert left(gallery) == {kept}
    with pytest.raises(NotFound):
        gallery.record(old)


def test_time_in_the_trash_counts_anew_each_time(gallery: Gallery) -> None:
    picture = add(gallery, "owner")
    gallery.trash(picture)
    gallery.restore(picture)
    assert retention(gallery, Rules(trash_days=1)).tidy().delete == ()
    assert gallery.path(picture).is_file()


def test_nothing_is_deleted_while_a_disk_is_missing(gallery: Gallery, tmp_path: Path) -> None:
    pictures = [add(gallery, "ann", index) for index in range(3)]
    gallery.trash(pictures[0])
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    (tmp_path / "pictures").mkdir()
    tidy = retention(gallery, Rules(guest_days=1, trash_days=1))
    assert tidy.tidy() == tidy.due()
    assert tidy.due().delete == ()
    (tmp_path / "pictures").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "pictures")
    assert len(tidy.due().trash) == 2
    assert gallery.path(pictures[0]).is_file()


def test_only_what_lies_in_the_trash_can_be_deleted(gallery: Gallery) -> None:
    picture = add(gallery, "owner")
    with pytest.raises(NotFound, match="Only what lies in the trash"):
        gallery.discard(picture)
    assert gallery.path(picture).is_file()


def test_a_picture_whose_file_is_gone_stands_in_nobodys_way(gallery: Gallery) -> None:
    first, second = add(gallery, "owner"), add(gallery, "owner", 1)
    for picture in (first, second):
        gallery.trash(picture)
    gallery.path(first).unlink()
    done = retention(gallery, Rules(trash_days=1)).tidy()
    assert [record.id for record in done.delete] == [second]


def test_rules_are_kept_and_a_damaged_file_is_no_licence_to_delete(tmp_path: Path) -> None:
    RuleBook(tmp_path).decide(trash_days=7)
    RuleBook(tmp_path).decide(watermark=False)
    assert RuleBook(tmp_path).rules == Rules(trash_days=7, watermark=False)
    for wrong in ({"trash_days": 0}, {"no": "such"}, {"check": "some"}):
        with pytest.raises(ValidationError):
            RuleBook(tmp_path).decide(**wrong)
    assert RuleBook(tmp_path).rules == Rules(trash_days=7, watermark=False)
    (tmp_path / "rules.json").write_text('{"trash_days": 0}')
    with pytest.raises(BadRequest, match="cannot be read; mend the file"):
        RuleBook(tmp_path)
