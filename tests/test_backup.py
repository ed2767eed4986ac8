from __future__ import annotations

import json
import os
import sqlite3
import zipfile
from pathlib import Path

import pytest

from studio.backup import backup, restore
from studio.errors import BadRequest, NotFound, StudioError
from tests.fakes import no_room


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, content in {
        "pictures/2026-11-21/00001-夜.png": b"\x89PNG" * 1000,
        "trash/old.png": b"old",
        "inputs/abc.png": b"input",
        "thumbs/x.jpg": b"made anew",
        "studio.lock": b"",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_was_backed_up_comes_back_byte_for_byte(data: Path, tmp_path: Path) -> None:
    assert backup(data, tmp_path / "all.zip") == 3
    assert restore(tmp_path / "all.zip", tmp_path / "new") == 3
    kept = {name: content for name, content in contents(data).items() if not name.startswith(("thumbs", "studio"))}
    assert contents(tmp_path / "new") == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.zip", "data", "new"]


def test_a_database_in_use_is_copied_at_one_moment_with_what_is_only_in_its_log(data: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(data / "jobs.sqlite3", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE job (id)")
    db.executemany("INSERT INTO job VALUES (?)", [(n,) for n in range(1000)])
    db.execute("BEGIN")
    db.execute("DELETE FROM job")
    backup(data, tmp_path / "all.zip")
    db.close()
    restore(tmp_path / "all.zip", tmp_path / "new")
    copy = sqlite3.connect(tmp_path / "new" / "jobs.sqlite3")
    assert copy.execute("SELECT count(*) FROM job").fetchone() == (1000,)
    copy.close()


def test_a_link_out_of_the_folder_is_not_followed(data: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (data / "pictures" / "link.png").symlink_to(tmp_path / "secret")
    (data / "linked").symlink_to(tmp_path)
    assert backup(data, tmp_path / "all.zip") == 3


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "C:out.png", "..\\out.png"])
def test_a_backup_made_to_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, b"x")
        archive.writestr("backup.json", json.dumps({"files": {name: "0" * 64}}))
    with pytest.raises(BadRequest, match="nothing was restored"):
        restore(tmp_path / "bad.zip", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


@pytest.mark.parametrize("manifest", [None, "[]", "{", '{"files": {"a": 1}}', '{"files": {"missing": "00"}}'])
def test_what_is_no_backup_is_refused(tmp_path: Path, manifest: str | None) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("a", b"x")
        if manifest is not None:
            archive.writestr("backup.json", manifest)
    with pytest.raises(BadRequest, match="nothing was restored"):
        restore(tmp_path / "bad.zip", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_cut_short_or_changed_is_noticed_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    backup(data, tmp_path / "all.zip")
    whole = (tmp_path / "all.zip").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b"\x89PNG\x89PNG", b"\x89PNX\x89PNG", 1), b""):
        (tmp_path / "damaged.zip").write_bytes(damaged)
        with pytest.raises(BadRequest, match=r"damaged|not a whole backup"):
            restore(tmp_path / "damaged.zip", tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(data: Path, tmp_path: Path) -> None:
    backup(data, tmp_path / "all.zip")
    held = (tmp_path / "all.zip").read_bytes()
    with pytest.raises(BadRequest, match="exists already"):
        backup(data, tmp_path / "all.zip")
    with pytest.raises(BadRequest, match="not empty"):
        restore(tmp_path / "all.zip", data)
    with pytest.raises(BadRequest, match="another disk"):
        backup(data, data / "all.zip")
    with pytest.raises(NotFound):
        backup(tmp_path / "nowhere", tmp_path / "other.zip")
    with pytest.raises(NotFound):
        restore(tmp_path / "nothing.zip", tmp_path / "new")
    assert (tmp_path / "all.zip").read_bytes() == held


def test_a_full_disk_leaves_no_torn_backup(data: Path, tmp_path: Path) -> None:
    with no_room(), pytest.raises(StudioError):
        backup(data, tmp_path / "all.zip")
    assert os.listdir(tmp_path) == ["data"]  # noqa: PTH208
