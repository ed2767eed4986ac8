"""Drawing without a page: requests from a JSON file, pictures into a folder, one line of JSON for each."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from studio import plan
from studio.catalog import Catalog
from studio.engine import Engine, Failed, Finished
from studio.errors import BadRequest, StudioError
from studio.gallery_files import write_png
from studio.gallery_origin import Finish, plain
from studio.presets import Presets
from studio.request import INPUTS, GenerationRequest, GenerationResult, ModelSpec, ResolvedRequest


def read(source: str, catalog: Catalog, presets: Presets, max_pixels: int) -> list[ResolvedRequest]:
    """The requests of a JSON file (`-`: standard input), one object or a list, resolved.

    All of them are checked before anything is drawn. Paths of pictures are relative to the file.

    Raises:
        StudioError: an unreadable file, or a request that cannot be drawn, named by its place in the list.
    """
    folder = Path() if source == "-" else Path(source).parent
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8-sig")
        given = json.loads(text)
    except OSError as missing:
        raise BadRequest(f"Cannot read {source} ({missing.strerror}).") from missing
    except ValueError as broken:
        raise BadRequest(
            f"{'Standard input' if source == '-' else source} is not readable as JSON ({broken})."
        ) from broken
    many = isinstance(given, list)
    requests = []
    for number, fields in enumerate(given if many else [given], 1):
        try:
            request = GenerationRequest.model_validate(_with_pictures(fields, folder))
            requests.append(plan.resolve(request, catalog=catalog, presets=presets, max_pixels=max_pixels))
        except ValidationError as invalid:
            raise BadRequest(_at(number, many) + plan.sentence(invalid)) from invalid
        except StudioError as error:
            raise type(error)(_at(number, many) + str(error)) from error
    return requests


def _at(number: int, many: bool) -> str:
    return f"Request {number}: " if many else ""


def _with_pictures(fields: object, folder: Path) -> object:
    if not isinstance(fields, dict):
        return fields
    loaded = {**fields, **_loaded(fields, INPUTS, folder)}
    units = fields.get("controls")
    if isinstance(units, list):
        loaded["controls"] = [
            {**unit, **_loaded(unit, ("image",), folder)} if isinstance(unit, dict) else unit for unit in units
        ]
    return loaded


def _loaded(fields: Mapping[str, object], names: Iterable[str], folder: Path) -> dict[str, str]:
    """Those of `names` that name a file, where HTTP would send a data URL."""
    loaded = {}
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and not value.startswith("data:"):
            try:
                data = (folder / value).read_bytes()
            except (OSError, ValueError) as missing:
                raise BadRequest(f"{name.capitalize()} {value[:200]!r} is not a file that can be read.") from missing
            # What the file is called says nothing; decoding looks at its content.
            loaded[name] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return loaded


def draw(
    requests: list[ResolvedRequest],
    engine: Engine,
    folder: Path,
    catalog: Catalog,
    terms: Callable[[ModelSpec], str] = lambda spec: spec.licence,
    finish: Finish = plain,
) -> Iterator[str]:
    """Draw and write every picture; yields its line of JSON once the file is safely there.

    `terms`: what a model may be used for, for the metadata.

    Raises:
        StudioError: a picture could not be drawn or written; those before it are kept.
    """
    number = 0
    for job in requests:
        for request in plan.expand(job):
            number += 1
            result = _picture(engine, request)
            spec, name = catalog.find(request.model), f"{number:05d}-{request.seed}"
            path, infotext = write_png(result, folder, name, spec.title, terms(spec), finish)
            yield json.dumps(
                {
                    "path": str(path),
                    "seed": request.seed,
                    "width": result.width,
                    "height": result.height,
                    "seconds": round(result.seconds, 3),
                    "metadata": infotext,
                },
                ensure_ascii=False,
            )


def _picture(engine: Engine, request: ResolvedRequest) -> GenerationResult:
    for event in engine.generate(request):
        match event:
            case Finished(result):
                return result
            case Failed(reason):
                raise StudioError(reason)
            case _:
                pass
    raise AssertionError("an engine ends with Finished or Failed")
