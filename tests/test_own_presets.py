"""Presets of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from studio.errors import BadRequest, NotFound, ReadOnly
from studio.own_presets import MOST, OwnPreset, OwnPresets

VALUES = {"prompt": "a heron", "steps": 12.0, "styles": ["Ink"], "soft": True, "width": None}


def preset(name: str, **values: object) -> OwnPreset:
    return OwnPreset.model_validate({"name": name, "values": values})


def test_what_is_kept_is_there_after_a_restart_for_its_owner_alone(tmp_path: Path) -> None:
    kept = OwnPresets(tmp_path).keep("ann", preset("Birds", **VALUES))
    again = OwnPresets(tmp_path)
    assert again.of("ann") == [kept]
    assert again.of("ann")[0].values == VALUES
    assert again.of("bob") == []
    with pytest.raises(NotFound):
        again.remove("bob", kept.id)


def test_a_name_names_one_preset(tmp_path: Path) -> None:
    own = OwnPresets(tmp_path)
    own.keep("ann", preset("  Birds\n at dawn ", steps=1))
    second = own.keep("ann", preset("Birds at dawn", steps=2))
    assert own.of("ann") == [second]
    other = own.keep("ann", preset("Boats"))
    own.rename("ann", other.id, "Birds at dawn")
    assert [(found.id, found.name) for found in own.of("ann")] == [(other.id, "Birds at dawn")]
    own.remove("ann", other.id)
    assert own.of("ann") == []


@pytest.mark.parametrize(
    "given",
    [
        {"name": " ", "values": {}},
        {"name": "x" * 101, "values": {}},
        {"name": "x", "values": {"prompt": {"a": 1}}},
        {"name": "x", "values": {"prompt": "y" * 20_001}},
        {"name": "x", "values": {str(i): 1 for i in range(100)}},
    ],
)
def test_what_no_form_holds_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OwnPreset.model_validate(given)


def test_there_is_an_end_to_it(tmp_path: Path) -> None:
    own = OwnPresets(tmp_path)
    with pytest.raises(BadRequest, match="too large"):
        own.keep("ann", preset("x", **{str(i): "y" * 20_000 for i in range(6)}))
    for i in range(MOST):
        own.keep("ann", preset(f"p{i}"))
    with pytest.raises(BadRequest, match="presets already"):
        own.keep("ann", preset("one more"))


def test_a_damaged_file_and_a_folder_that_is_none_are_borne(tmp_path: Path) -> None:
    own = OwnPresets(tmp_path)
    own.keep("ann", preset("Birds"))
    (file,) = (tmp_path / "presets").iterdir()
    file.write_text("{", "utf-8")
    assert own.of("ann") == []
    (tmp_path / "other").write_text("a file", "utf-8")
    with pytest.raises(ReadOnly, match="nothing was kept"):
        OwnPresets(tmp_path / "other").keep("ann", preset("Birds"))
