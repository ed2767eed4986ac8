"""The floors of docs/design.md: nobody imports upward, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Every module or room of `studio`, ground floor first. What is not listed here has no place yet.
FLOORS = (
    {"", "errors", "settings"},
    {"request", "image", "samplers", "geometry", "canvas", "seam", "pose", "sketch"}
    | {"family", "families", "headers", "recognise", "recognise_lora", "specs", "tensor_names"},
    {
        "catalog",
        "catalog_choices",
        "catalog_facts",
        "catalog_folder",
        "catalog_index",
        "catalog_names",
        "catalog_places",
    }
    | {"annotators", "control", "control_maps"}
    | {"abilities", "catalog_scan", "catalog_trash", "catalog_watch", "hashes", "known"}
    | {"infotext", "presets", "engine", "access", "small_files", "job_store", "turns", "quotas", "backup", "journal"}
    | {"people_store", "throttle", "pose_shelf"}
    | {"comfy_graph", "foreign_values", "infotext_foreign", "reading", "receipt"}
    | {"prompt", "prompt_chunks", "prompt_schedule", "prompt_spoken", "prompt_weights", "tokens", "wildcards"}
    | {"credentials", "marks", "marks_pattern", "retention", "rules", "safety"}
    | {"gallery", "gallery_db", "gallery_files", "gallery_origin", "gallery_reconcile", "gallery_store"},
    {
        "vocabulary",
        "prompt_help",
        "prompt_writer",
        "xray",
        "style_files",
        "own_presets",
        "plan",
        "further",
        "control_files",
        "control_plan",
        "hub",
        "downloads",
        "people",
    },
    {"jobs", "board", "line", "ledger", "painter", "headless", "worker", "worker_child", "diffusion"}
    | {"attendance", "signin", "gate"},
    {"ui", "api"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: Neighbours of one floor who must not know each other.
STRANGERS = {
    ("jobs", "diffusion"),
    ("painter", "diffusion"),
    ("worker", "diffusion"),
    ("worker_child", "diffusion"),
    ("ui", "api"),
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "controlnet_aux"}
#: Library → the rooms that may import it.
ROOMS = {library: {"diffusion"} for library in HEAVY} | {"gradio": {"ui", "app"}, "fastapi": {"api", "ui", "app"}}


def modules() -> dict[str, Path]:
    """Dotted name below `studio` → file; `app` for app.py."""
    found = {
        ".".join(file.relative_to(ROOT / "studio").with_suffix("").parts).removesuffix("__init__").rstrip("."): file
        for file in (ROOT / "studio").rglob("*.py")
    }
    return found | {"app": ROOT / "app.py"}


MODULES = modules()


def imported(name: str, file: Path) -> Iterator[str]:
    """Every absolute module name imported anywhere in the file, inside functions too; relative ones made absolute."""
    package = ["studio", *name.split(".")] if file.name == "__init__.py" else ["studio", *name.split(".")][:-1]
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [part for part in package if part][: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix("studio.")
                yield f"studio.{inner}" if module.startswith("studio") and inner in MODULES else module


def rooms_of(name: str, file: Path) -> set[str]:
    """The modules of the studio that this one imports, by dotted name."""
    ours = {target for target in imported(name, file) if target == "studio" or target.startswith("studio.")}
    return {target.removeprefix("studio").lstrip(".") for target in ours} - {name}


def room(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "app"])
def test_nobody_imports_upward_not_even_lazily(name: str) -> None:
    assert room(name) in FLOOR, f"studio/{room(name)} has no floor yet: give it one in FLOORS"
    upward = {target for target in rooms_of(name, MODULES[name]) if FLOOR[room(target)] > FLOOR[room(name)]}
    assert not upward


@pytest.mark.parametrize("name", MODULES)
def test_neighbours_that_must_not_meet_do_not(name: str) -> None:
    met = {frozenset((room(name), room(target))) for target in rooms_of(name, MODULES[name])}
    assert not met & {frozenset(pair) for pair in STRANGERS}


@pytest.mark.parametrize("name", MODULES)
def test_heavy_libraries_stay_in_their_rooms(name: str) -> None:
    libraries = {target.partition(".")[0] for target in imported(name, MODULES[name])}
    misplaced = {library for library in libraries if room(name) not in ROOMS.get(library, {room(name)})}
    assert not misplaced


def test_no_module_needs_itself() -> None:
    graph = {name: rooms_of(name, file) & MODULES.keys() for name, file in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(f"imported in a circle: {cycle.args[1]}")


def test_the_floor_plan_names_nothing_that_is_gone() -> None:
    assert FLOOR.keys() <= {room(name) for name in MODULES}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    from studio.diffusion import local", {"diffusion.local"}),
        ("import studio.diffusion.local", {"diffusion.local"}),
        ("from . import engine", {"engine"}),
        ("from .request import Picture", {"request"}),
        ("if TYPE_CHECKING:\n    from studio.jobs import Jobs", {"jobs"}),
        ("from studio import image, samplers", {"image", "samplers"}),
    ],
)
def test_this_test_sees_every_way_of_importing(tmp_path: Path, source: str, expected: set[str]) -> None:
    (tmp_path / "x.py").write_text(source)
    assert rooms_of("x", tmp_path / "x.py") - {""} == expected


def test_the_web_side_loads_no_torch() -> None:
    names = ["app", *(f"studio.{name}".rstrip(".") for name in MODULES if name != "app" and room(name) != "diffusion")]
    script = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    assert not loaded & HEAVY
    assert "studio" in loaded
