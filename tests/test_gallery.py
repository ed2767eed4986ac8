from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from studio import gallery as gallery_module
from studio import gallery_files, infotext
from studio.errors import BadRequest, NotFound, ReadOnly
from studio.gallery import Gallery
from studio.gallery_db import MIGRATIONS, insert
from studio.request import Picture
from tests.galleries import OWNER, PATTERN, drawn, kept, leftovers, pngs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def gallery(folder: Path) -> Iterator[Gallery]:
    gallery = Gallery(folder, PATTERN)
    yield gallery
    gallery.close()


def reopened(folder: Path, pattern: str = PATTERN) -> Gallery:
    return Gallery(folder, pattern)


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(gallery_module, "_now", lambda: moment.astimezone())


# Keeping


def test_a_kept_picture_is_a_png_with_both_its_texts(gallery: Gallery, folder: Path) -> None:
    result = drawn("a café fox", seed=2**64 - 1)
    record = gallery.add(result, job="j", index=3, owner=OWNER, title="Mini v1")
    with Image.open(gallery.path(record.id)) as picture:
        assert picture.tobytes() == result.rgb
        assert picture.info["parameters"] == infotext.write(result, "Mini v1") == record.infotext
        ours = json.loads(picture.info["pochade"])
    assert ours["request"] == result.request.model_dump(mode="json")
    assert {key: ours[key] for key in ("id", "job", "index", "owner")} == {
        "id": record.id,
        "job": "j",
        "index": 3,
        "owner": OWNER,
    }
    assert (record.seed, record.model, record.title) == (2**64 - 1, "mini", "Mini v1")
    assert record.request == result.request
    assert gallery.record(record.id) == record
    assert leftovers(folder) == []


def test_files_lie_in_folders_by_day_and_are_numbered_within_it(
    gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, datetime(2026, 11, 21, 12, tzinfo=UTC))
    names = [kept(gallery, n).path for n in (1, 2)]
    set_clock(monkeypatch, datetime(2026, 11, 23, 12, tzinfo=UTC))
    names.append(kept(gallery, 3).path)
    assert names == [
        "pictures/2026-11-21/00001-1-a red fox.png",
        "pictures/2026-11-21/00002-2-a red fox.png",
        "pictures/2026-11-23/00001-3-a red fox.png",
    ]
    gallery.close()
    set_clock(monkeypatch, datetime(2026, 11, 21, 13, tzinfo=UTC))
    again = reopened(folder)
    assert kept(again, 4).path == "pictures/2026-11-21/00003-4-a red fox.png"
    again.close()


def test_adding_the_same_picture_again_changes_nothing(gallery: Gallery, folder: Path) -> None:
    first = kept(gallery)
    assert kept(gallery) == first
    assert len(pngs(folder)) == 1
    gallery.trash(first.id)
    assert kept(gallery).id == first.id
    assert pngs(folder) == []


def test_no_file_is_ever_written_over(folder: Path) -> None:
    gallery = Gallery(folder, "same")
    foreign = folder / "pictures" / datetime.now().astimezone().date().isoformat() / "same.png"
    foreign.parent.mkdir()
    foreign.write_bytes(b"an artist's own file")
    names = {Path(kept(gallery, n).path).name for n in (1, 2)}
    assert names == {"same-2.png", "same-3.png"}
    assert foreign.read_bytes() == b"an artist's own file"
    gallery.close()


def test_ids_sort_by_time_even_when_the_clock_goes_back(
    gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    ids = []
    for n, offset in enumerate((0, 86_400, -86_400, 0, 1)):
        set_clock(monkeypatch, now + timedelta(seconds=offset))
        ids.append(kept(gallery, n).id)
    gallery.close()
    again = reopened(folder)
    set_clock(monkeypatch, now - timedelta(days=1))
    ids.append(kept(again, 9).id)
    assert ids == sorted(ids)
    assert [item.id for item in again.search().items] == ids[::-1]
    assert all(len(identifier) == 26 for identifier in ids)
    again.close()


def test_input_pictures_are_kept_once_and_come_back_with_the_request(gallery: Gallery, folder: Path) -> None:
    init, mask = Picture.from_bytes(b"input bytes"), Picture.from_bytes(b"mask bytes")
    records = [kept(gallery, n, init=init, mask=mask) for n in (1, 2)]
    assert {file.name for file in (folder / "inputs").iterdir()} == {f"{init.sha256}.png", f"{mask.sha256}.png"}
    assert records[0].inputs == {"init": init.sha256, "mask": mask.sha256}
    assert records[0].request is not None
    assert records[0].request.pictures == {}
    assert gallery.request(records[0].id) == drawn(seed=1, init=init, mask=mask).request
    with Image.open(gallery.path(records[0].id)) as picture:
        told = json.loads(picture.info["pochade"])["request"]
        assert (told["init"], told["mask"]) == (f"sha256:{init.sha256}", f"sha256:{mask.sha256}")
    (folder / "inputs" / f"{mask.sha256}.png").unlink()
    with pytest.raises(NotFound, match="inputs folder"):
        gallery.request(records[0].id)


def test_a_film_is_kept_beside_its_picture(gallery: Gallery) -> None:
    film = gallery.film(kept(gallery, 1, film=8).id)
    assert film is not None
    with Image.open(film) as strip:
        assert strip.size == (8 * 32, 32)
    assert gallery.film(kept(gallery, 2).id) is None


def test_a_thumbnail_is_made_on_demand_and_kept(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery, size=512)
    assert not (folder / "thumbs").exists()
    thumb = gallery.thumb(record.id)
    with Image.open(thumb) as small:
        assert small.size == (256, 256)
        assert small.format == "JPEG"
    made = thumb.stat().st_mtime_ns
    gallery.path(record.id).unlink()
    assert gallery.thumb(record.id).stat().st_mtime_ns == made
    assert leftovers(folder) == []


def test_many_threads_can_keep_and_look_at_once(gallery: Gallery, folder: Path) -> None:
    faults: list[BaseException] = []

    def work(part: int) -> None:
        try:
            for n in range(10):
                record = gallery.add(drawn(seed=n), job=f"job-{n}", index=0, owner=OWNER)
                gallery.thumb(record.id)
                gallery.search(text="fox")
        except BaseException as fault:  # noqa: BLE001 — reported by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(pngs(folder)) == len(gallery.search().items) == 10


# Finding


def test_pages_follow_each_other_newest_first_without_gap_or_repeat(gallery: Gallery) -> None:
    ids = [kept(gallery, n).id for n in range(7)]
    seen: list[str] = []
    before = None
    while True:
        page = gallery.search(limit=3, before=before)
        seen += [item.id for item in page.items]
        kept(gallery, 100 + len(seen))  # new pictures above do not shift the pages below
        if page.next is None:
            break
        before = page.next
    assert seen == ids[::-1]


def test_search_finds_all_words_in_any_order_and_the_last_as_a_beginning(gallery: Gallery) -> None:
    fox = kept(gallery, 1, prompt="a Red fox, in the snów").id
    cat = kept(gallery, 2, prompt="a red cat").id

    def found(text: str) -> list[str]:
        return [item.id for item in gallery.search(text=text).items]

    assert found("red") == [cat, fox]
    assert found("snow red") == [fox]
    assert found("FO") == [fox]
    assert found("fo red") == []
    assert found("ink draw") == [cat, fox]
    assert found("blurry") == [cat, fox]
    assert found("mini cat") == [cat]
    assert found("") == found("  ") == [cat, fox]
    assert found("dog") == []


def test_scripts_without_spaces_and_signs_are_found_inside_the_prompt(gallery: Gallery) -> None:
    fox = kept(gallery, 1, prompt="雪の中の赤い狐 🦊").id
    right = kept(gallery, 2, prompt="שועל אדום בשלג").id
    for text, expected in (("狐", fox), ("赤い", fox), ("🦊", fox), ("🦊 ink", fox), ("שועל", right), ("שלג", None)):
        assert [item.id for item in gallery.search(text=text).items] == ([expected] if expected else [])


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "fox OR",
        "NEAR(",
        "prompt:fox",
        "*",
        "-fox",
        "a AND",
        "'; DROP TABLE pictures; --",
        "(",
        "^",
        "{a}",
        "%",
    ],
)
def test_what_is_typed_is_never_query_syntax(gallery: Gallery, text: str) -> None:
    kept(gallery, prompt="something else")
    assert gallery.search(text=text).items == ()
    odd = kept(gallery, 2, prompt=f"odd {text} odd")
    assert odd.id in [item.id for item in gallery.search(text=text).items]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_any_text_can_be_searched(gallery: Gallery, text: str) -> None:
    gallery.search(text=text)


def test_filters_and_facets_agree(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, datetime(2026, 11, 21, 12, tzinfo=UTC))
    first = kept(gallery, 1)
    set_clock(monkeypatch, datetime(2026, 11, 22, 12, tzinfo=UTC))
    second = kept(gallery, 2, model="other")
    third = gallery.add(drawn(seed=3), job="x", index=0, owner="bob")
    gallery.favourite(first.id, True)
    gallery.trash(third.id)

    def found(**filters: object) -> list[str]:
        return [item.id for item in gallery.search(**filters).items]  # type: ignore[arg-type]

    assert found() == [second.id, first.id]
    assert found(owner="bob") == []
    assert found(owner="bob", trashed=True) == [third.id]
    assert found(model="other") == [second.id]
    assert found(day="2026-11-21") == [first.id]
    assert found(favourite=True) == [first.id]
    assert found(favourite=True, model="other") == []
    facets = gallery.facets()
    assert facets.models == (("mini", "mini", 1), ("other", "other", 1))
    assert facets.days == (("2026-11-22", 1), ("2026-11-21", 1))
    assert (facets.favourites, facets.trashed, facets.missing) == (1, 1, 0)
    assert gallery.facets("bob").models == ()
    assert [record.id for record in gallery.of_job("x")] == [third.id]
    gallery.favourite(first.id, False)
    assert found(favourite=True) == []


def test_another_owners_picture_is_answered_as_one_that_is_not(gallery: Gallery) -> None:
    record = kept(gallery)
    for ask in (
        gallery.record,
        gallery.request,
        gallery.path,
        gallery.thumb,
        gallery.film,
        gallery.trash,
        gallery.restore,
        lambda picture, owner: gallery.favourite(picture, True, owner),
    ):
        with pytest.raises(NotFound) as of_another:
            ask(record.id, "bob")
        with pytest.raises(NotFound) as of_none:
            ask("nosuchpicture", "bob")
        assert str(of_another.value) == str(of_none.value)
    assert gallery.record(record.id, OWNER) == record


@pytest.mark.parametrize("id_", ["../gallery.sqlite3", "", "\0", "%2e%2e", "a" * 10_000])
def test_ids_are_looked_up_never_joined_to_a_path(gallery: Gallery, id_: str) -> None:
    for ask in (gallery.path, gallery.thumb, gallery.film):
        with pytest.raises(NotFound):
            ask(id_)


def test_a_row_that_points_outside_is_not_followed(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    gallery._database.write(
        lambda db: db.execute("UPDATE pictures SET path = 'pictures/../gallery.sqlite3' WHERE id = ?", (record.id,))
    )
    with pytest.raises(NotFound):
        gallery.path(record.id)


# Trash


def test_the_trash_gives_back_what_it_took(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    data = gallery.path(record.id).read_bytes()
    trashed = gallery.trash(record.id)
    assert trashed.trashed
    assert gallery.record(record.id) == trashed
    assert gallery.path(record.id) == folder / "trash" / record.path.removeprefix("pictures/")
    assert gallery.path(record.id).read_bytes() == data
    assert not (folder / record.path).exists()
    assert gallery.search().items == ()
    assert gallery.trash(record.id) == trashed
    assert gallery.restore(record.id) == record
    assert gallery.path(record.id).read_bytes() == data
    assert gallery.search().items == (record,)


def test_neither_trash_nor_restore_takes_another_files_place(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    for root, move in (("trash", gallery.trash), ("pictures", gallery.restore)):
        other = folder / root / record.path.removeprefix("pictures/")
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(b"other")
        moved = move(record.id)
        assert moved.path.endswith("-2.png")
        assert other.read_bytes() == b"other"
        assert gallery.path(record.id).is_file()


# Coming back


def test_files_without_rows_are_adopted_with_all_they_say(gallery: Gallery, folder: Path) -> None:
    records = [kept(gallery, n, prompt='שועל 🦊\n"quoted": x') for n in (1, 2)]
    gallery.trash(records[1].id)
    gallery.close()
    (folder / "gallery.sqlite3").unlink()
    again = reopened(folder)
    outcome = again.reconcile()
    assert (outcome.adopted, outcome.missing, outcome.unreadable) == (2, 0, ())
    for record in records:
        back = again.record(record.id)
        assert (back.job, back.index, back.owner) == (record.job, record.index, record.owner)
        assert (back.request, back.infotext, back.created) == (record.request, record.infotext, record.created)
    assert again.record(records[1].id).trashed
    assert kept(again, 1, prompt="anything").id == records[0].id
    assert again.reconcile() == type(outcome)()
    again.close()


def test_pictures_of_other_programs_are_read_as_far_as_they_go(gallery: Gallery, folder: Path) -> None:
    day = folder / "pictures" / "2026-01-02"
    day.mkdir()
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "parameters",
        "a wet dog\nNegative prompt: bad\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x72, Model: dogs",
    )
    Image.new("RGB", (64, 72)).save(day / "theirs.png", pnginfo=info)
    Image.new("RGB", (10, 10)).save(folder / "pictures" / "bare.PNG")
    (folder / "pictures" / "torn.png").write_bytes((day / "theirs.png").read_bytes()[:-30])
    (folder / "pictures" / ".hidden.png").write_bytes(b"")
    (day / ".0123456789abcdef.part").write_bytes((day / "theirs.png").read_bytes())
    (folder / "pictures" / "notes.txt").write_bytes(b"hello")
    (folder / "pictures" / "loop").symlink_to(folder / "pictures")
    (folder / "pictures" / "link.png").symlink_to(day / "theirs.png")
    outcome = gallery.reconcile()
    assert (outcome.adopted, outcome.unreadable, outcome.leftovers) == (2, ("pictures/torn.png",), 1)
    (dog,) = gallery.search(text="wet dog").items
    assert (dog.seed, dog.model, dog.day, dog.width, dog.height) == (42, "dogs", "2026-01-02", 64, 72)
    assert dog.request is not None
    assert (dog.request.sampler, dog.request.steps, dog.request.negative) == ("Euler a", 20, "bad")
    (bare,) = (item for item in gallery.search().items if item.id != dog.id)
    assert (bare.request, bare.prompt, bare.job) == (None, "", "")
    with pytest.raises(NotFound, match="does not say"):
        gallery.request(bare.id)
    assert gallery.thumb(bare.id).is_file()
    assert (day / ".0123456789abcdef.part").exists()
    assert gallery.reconcile().adopted == 0


def test_rows_without_files_are_marked_and_come_back_with_them(gallery: Gallery, folder: Path) -> None:
    record, other = kept(gallery, 1), kept(gallery, 2)
    gallery.favourite(record.id, True)
    away = folder / "away.png"
    (folder / record.path).rename(away)
    assert gallery.reconcile().missing == 1
    assert gallery.record(record.id).missing
    assert [item.id for item in gallery.search().items] == [other.id]
    assert gallery.facets().missing == 1
    assert gallery.reconcile().missing == 0
    with pytest.raises(NotFound):
        gallery.thumb(record.id)
    away.rename(folder / record.path)
    assert gallery.reconcile().found == 1
    assert gallery.record(record.id).favourite


def test_a_picture_moved_by_hand_keeps_its_row(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    gallery.favourite(record.id, True)
    best = folder / "pictures" / "the best"
    best.mkdir()
    (folder / record.path).rename(best / "fox.png")
    outcome = gallery.reconcile()
    assert (outcome.moved, outcome.adopted, outcome.missing) == (1, 0, 0)
    moved = gallery.record(record.id)
    assert (moved.path, moved.favourite, moved.missing) == ("pictures/the best/fox.png", True, False)


def test_a_copy_becomes_a_picture_of_its_own(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    copy = folder / "pictures" / "copy.png"
    copy.write_bytes((folder / record.path).read_bytes())
    assert gallery.reconcile().adopted == 1
    assert len(gallery.search().items) == 2
    assert gallery.of_job(record.job) == (record,)


def test_a_move_to_the_trash_that_was_cut_short_is_finished(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    target = folder / "trash" / record.path.removeprefix("pictures/")
    target.parent.mkdir(parents=True)
    (folder / record.path).rename(target)
    assert gallery.reconcile().moved == 1
    assert gallery.record(record.id).trashed
    assert gallery.restore(record.id) == record


@pytest.mark.parametrize("lost", ["the folder", "its marker"])
def test_an_unplugged_disk_is_not_taken_for_deleted_pictures(gallery: Gallery, folder: Path, lost: str) -> None:
    record = kept(gallery)
    away = folder / "unplugged"
    (folder / "pictures").rename(away)
    if lost == "its marker":
        (folder / "pictures").mkdir()
    gallery.close()
    again = reopened(folder)
    assert "connect its disk" in again.reconcile().refused
    assert again.health.startswith("read-only: The pictures folder")
    assert not again.record(record.id).missing
    with pytest.raises(ReadOnly):
        kept(again, 2)
    assert pngs(folder) == []
    if lost == "its marker":
        (folder / "pictures").rmdir()
    away.rename(folder / "pictures")
    assert again.health == "ok"
    assert again.reconcile().missing == 0
    kept(again, 2)
    again.close()


def test_start_up_opens_no_file_it_knows(gallery: Gallery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        kept(gallery, n)
    monkeypatch.setattr("studio.image.png_texts", lambda data: pytest.fail("a known file was opened"))
    assert gallery.reconcile().adopted == 0


def test_migrations_are_recorded_and_a_newer_gallery_is_only_read(gallery: Gallery, folder: Path) -> None:
    record = kept(gallery)
    gallery.close()
    with sqlite3.connect(folder / "gallery.sqlite3") as db:
        assert [row[0] for row in db.execute("SELECT number FROM migrations")] == list(range(1, len(MIGRATIONS) + 1))
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        db.execute("INSERT INTO migrations VALUES (99, '')")
    db.close()
    newer = reopened(folder)
    assert "newer Pochade" in newer.health
    assert newer.record(record.id) == record
    with pytest.raises(ReadOnly):
        newer.favourite(record.id, True)
    newer.close()


def test_ten_thousand_pictures_stay_quick(gallery: Gallery) -> None:
    record = kept(gallery)

    def fill(db: sqlite3.Connection) -> None:
        row = dict(db.execute("SELECT * FROM pictures").fetchone())
        del row["serial"]
        for n in range(10_000):
            words = f"a {'red' if n % 2 else 'blue'} fox number {n}"
            other = {"id": f"{record.id[:20]}{n:06d}", "path": f"pictures/{n}.png", "job": f"many-{n}"}
            insert(db, {**row, **other, "prompt": words, "full_prompt": words, "model": f"model {n % 7}"})

    gallery._database.write(fill)
    for filters in ({}, {"text": "red fo"}, {"model": "model 3"}, {"text": "狐"}, {"owner": OWNER, "favourite": True}):
        began = time.perf_counter()
        gallery.search(**filters)
        assert time.perf_counter() - began < 0.5
    began = time.perf_counter()
    gallery.facets(OWNER)
    assert time.perf_counter() - began < 0.5


# Names


@pytest.mark.parametrize(
    ("pattern", "prompt", "name"),
    [
        ("{number:05d}-{seed}-{prompt}", "a red fox", "00007-42-a red fox"),
        ("{prompt}", 'a/b\\c:d*e?f"g<h>i|j', "a b c d e f g h i j"),
        ("{prompt}", "../../etc/passwd", "etc passwd"),
        ("{prompt}", "狐 שועל 🦊 café", "狐 שועל 🦊 café"),
        ("{prompt}", "con", "_con"),
        ("{prompt}", "nul.", "_nul"),
        ("{prompt}", "line\nbreak\0nul\u202egnp", "line break nul gnp"),
        ("{prompt}-{number}", "", "7"),
        ("{date} {time} {model}", "x", "2026-11-21 12-30-00 sd mini"),
        ("{width}x{height}", "x", "512x768"),
        ("a/{seed}", "x", "a-42"),
        ("{prompt}", "...", ""),
    ],
)
def test_file_names_are_good_everywhere(pattern: str, prompt: str, name: str) -> None:
    fields: dict[str, object] = {
        "number": 7,
        "seed": 42,
        "model": "sd/mini",
        "width": 512,
        "height": 768,
        "date": "2026-11-21",
        "time": "12-30-00",
        "prompt": prompt,
    }
    assert gallery_files.file_name(pattern, fields) == name


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_prompt_makes_a_bad_name(prompt: str, model: str) -> None:
    fields = dict.fromkeys(gallery_files.FIELDS, 1) | {"prompt": prompt, "model": model}
    name = gallery_files.file_name("{number}-{model}-{prompt}-{prompt}", fields)
    assert 0 < len(name) <= 120
    assert len(name.encode()) < 241
    assert not set(name) & set('<>:"/\\|?*') | {c for c in name if ord(c) < 32}
    assert name[0] not in ". -"
    assert name[-1] not in ". -"


@pytest.mark.parametrize(
    "pattern",
    ["", "{nothing}", "{", "{seed.__class__}", "{seed!r}", "{}", "{0}", "{seed:0999999d}", "{prompt:9}", "///"],
)
def test_a_bad_pattern_is_refused_at_the_start(folder: Path, pattern: str) -> None:
    with pytest.raises(BadRequest, match="pattern"):
        Gallery(folder, pattern)


def test_a_single_picture_is_written_beside_others(tmp_path: Path) -> None:
    paths = [gallery_files.write_png(drawn(), tmp_path / "out", "00001-1", "Mini")[0].name for _ in range(2)]
    assert paths == ["00001-1.png", "00001-1-2.png"]
