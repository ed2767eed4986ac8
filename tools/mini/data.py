"""Rendered scenes on disk: shards of pictures with their scenes, and the latents encoded from them."""

import dataclasses
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.mini.render import coverage, render
from tools.mini.scene import (
    LORA_STYLES,
    STYLES,
    Scene,
    Thing,
    sample_close,
    sample_held_out,
    sample_pair,
    sample_people,
    sample_scene,
    sample_simple,
)

SHARD = 500
SEED = 20_261


Kind = Literal["", "simple", "people", "close", "judged", "pair"]
"""All scenes; to learn shapes from; poses; shapes once more, in windows of large pictures around the one subject of a
scene; scenes in every style, the LoRAs' too, for the judge to learn from; and windows around two subjects."""
KINDS: tuple[Kind, ...] = get_args(Kind)
SAMPLERS: dict[Kind, Callable[[np.random.Generator], Scene]] = {
    "": sample_scene,
    "simple": sample_simple,
    "people": sample_people,
    "close": sample_close,
    "judged": partial(sample_scene, styles=STYLES + LORA_STYLES),
    "pair": sample_pair,
}
WINDOWS: tuple[Kind, ...] = ("close", "pair")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One picture size in pixels; both sides are multiples of 32, so that the latents halve three times. `kind` says
    what scenes are for, all of them for the denoiser unless said otherwise."""

    width: int
    height: int
    kind: Kind = ""

    def __str__(self) -> str:
        return f"{self.width}x{self.height}" + (f"-{self.kind}" if self.kind else "")


CELL = 4
"""Pixels to the side of a latent cell."""
SMALL = (Bucket(128, 128), Bucket(160, 96), Bucket(96, 160))
LARGE = (Bucket(256, 256), Bucket(320, 192), Bucket(192, 320))
SIMPLE = {"small": Bucket(128, 128, kind="simple"), "large": Bucket(256, 256, kind="simple")}
CLOSE = (Bucket(160, 160, kind="close"), Bucket(224, 128, kind="pair"))
JUDGED = Bucket(128, 128, kind="judged")
PEOPLE = {"small": Bucket(128, 128, kind="people"), "large": Bucket(256, 256, kind="people")}
SQUARE_SHARE = 0.7


def save_array(path: Path, array: NDArray[np.generic]) -> None:
    """Write `array` to `path` in .npy format; readers see either nothing or the whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    with draft.open("wb") as file:
        np.save(file, array)
    draft.replace(path)


def scene_to_json(scene: Scene) -> dict[str, object]:
    return dataclasses.asdict(scene)


def scene_from_json(fields: dict[str, object]) -> Scene:
    things = fields["things"]
    assert isinstance(things, list | tuple)
    return Scene(**{**fields, "things": tuple(Thing(**thing) for thing in things)})  # type: ignore[arg-type]


def scene_rng(bucket: Bucket, shard: int, index: int) -> np.random.Generator:
    """The generator one stored picture was drawn with: first its scene, then its rendering."""
    kind = [KINDS.index(bucket.kind)] if bucket.kind else []
    return np.random.default_rng([SEED, bucket.width, bucket.height, shard, index, *kind])


def again(bucket: Bucket, shard: int, index: int) -> tuple[Scene, np.random.Generator]:
    """The scene of one stored picture, and the generator as it was before its rendering."""
    rng = scene_rng(bucket, shard, index)
    return SAMPLERS[bucket.kind](rng), rng


def _window(bucket: Bucket, shard: int, index: int) -> tuple[slice, slice, NDArray[np.uint8]]:
    """Rows and columns, in latent cells of the large picture, that a window shows; and its subjects in them."""
    scene, rng = again(bucket, shard, index)
    whole = coverage(scene, rng, LARGE[0].width, LARGE[0].height, CELL)
    cuts = []
    for axis, side in ((1, bucket.height), (0, bucket.width)):
        inside, cells = np.flatnonzero(whole.max(axis)), side // CELL
        corner = (int(inside[0] + inside[-1]) + 1 - cells) // 2 + int(rng.integers(-2, 3))
        corner = min(max(corner, 0), whole.shape[0] - cells)
        cuts.append(slice(corner, corner + cells))
    return cuts[0], cuts[1], whole[cuts[0], cuts[1]]


def draw(bucket: Bucket, shard: int, index: int) -> tuple[Scene, NDArray[np.uint8]]:
    scene, rng = again(bucket, shard, index)
    if bucket.kind not in WINDOWS:
        return scene, render(scene, rng, bucket.width, bucket.height).image
    rows, columns, _ = _window(bucket, shard, index)
    image = render(scene, rng, LARGE[0].width, LARGE[0].height).image
    return scene, image[rows.start * CELL : rows.stop * CELL, columns.start * CELL : columns.stop * CELL]


def subject_map(bucket: Bucket, shard: int, index: int) -> NDArray[np.uint8]:
    """How much of each latent cell of one stored picture its subjects take: 0…255, (H/4, W/4)."""
    if bucket.kind in WINDOWS:
        return _window(bucket, shard, index)[2]
    scene, rng = again(bucket, shard, index)
    return coverage(scene, rng, bucket.width, bucket.height, CELL)


def held_out_pictures(
    bucket: Bucket, count: int, seed: int = 1, styles: tuple[str, ...] = STYLES
) -> tuple[list[Scene], NDArray[np.uint8]]:
    """Scenes of combinations that are never trained on, and their pictures (count, H, W, 3)."""
    rng = np.random.default_rng([SEED, seed, 0xBEEF])
    scenes = [sample_held_out(rng, styles) for _ in range(count)]
    return scenes, np.stack([render(scene, rng, bucket.width, bucket.height).image for scene in scenes])


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _render_shard(bucket: Bucket, folder: Path, shard: int) -> None:
    scenes, pictures = zip(*(draw(bucket, shard, index) for index in range(SHARD)), strict=True)
    draft = folder / f"{shard:05}.json.draft"
    draft.write_text(json.dumps([scene_to_json(scene) for scene in scenes]))
    draft.replace(folder / f"{shard:05}.json")
    save_array(folder / f"{shard:05}.npy", np.stack(pictures))


def render_shards(root: Path, bucket: Bucket, count: int, workers: int) -> None:
    """Render shards 0 … so that at least `count` pictures exist; shards already there are kept."""
    folder = root / "pictures" / str(bucket)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [shard for shard in range(-(-count // SHARD)) if not (folder / f"{shard:05}.npy").exists()]
    work = partial(_render_shard, bucket, folder)
    if workers == 1 or len(missing) < 2:
        _one_thread()
        for shard in missing:
            work(shard)
        return
    with multiprocessing.get_context("spawn").Pool(workers, initializer=_one_thread) as pool:
        for _ in pool.imap_unordered(work, missing):
            pass


def render_all(root: Path, buckets: tuple[Bucket, ...], count: int, workers: int) -> None:
    """Render `count` pictures over the buckets: most of them square, which comes first."""
    square, *others = buckets
    render_shards(root, square, round(count * SQUARE_SHARE), workers)
    for bucket in others:
        render_shards(root, bucket, round(count * (1 - SQUARE_SHARE) / len(others)), workers)


class Pictures:
    """The rendered pictures of one bucket, memory-mapped, with their scenes."""

    def __init__(self, root: Path, bucket: Bucket) -> None:
        self.root = root
        self.bucket = bucket
        self.files = sorted((root / "pictures" / str(bucket)).glob("*.npy"))
        self._arrays: list[NDArray[np.uint8]] = [np.load(file, mmap_mode="r") for file in self.files]

    def __len__(self) -> int:
        return len(self._arrays) * SHARD

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self._arrays[index // SHARD][index % SHARD]
        return picture

    def sample(self, count: int) -> NDArray[np.uint8]:
        """`count` pictures (count, H, W, 3) spread evenly over all."""
        return np.stack([self[int(index)] for index in np.linspace(0, len(self) - 1, count)])

    def shards(self) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        yield from zip(self.files, self._arrays, strict=True)

    def coverage(self, index: int) -> NDArray[np.uint8]:
        """How much of each latent cell the subjects take, 0…255 (H/4, W/4); `map_shards` comes first."""
        cells: NDArray[np.uint8] = self._maps[index // SHARD][index % SHARD]
        return cells

    @cached_property
    def _maps(self) -> list[NDArray[np.uint8]]:
        folder = self.root / "maps" / str(self.bucket)
        return [np.load(folder / file.name, mmap_mode="r") for file in self.files]

    @cached_property
    def scenes(self) -> list[Scene]:
        rows = (json.loads(file.with_suffix(".json").read_text()) for file in self.files)
        return [scene_from_json(fields) for row in rows for fields in row]


class Latents:
    """The latents of one bucket (float16, 4×H/4×W/4 each), made by one particular encoder, with their scenes and the
    maps of their subjects (H/4×W/4 each)."""

    def __init__(self, root: Path, bucket: Bucket, encoder: str) -> None:
        files = sorted((root / "latents" / encoder / str(bucket)).glob("*.npy"))
        self._pictures = Pictures(root, bucket)
        assert [file.name for file in files] == [file.name for file in self._pictures.files[: len(files)]]
        self.bucket = bucket
        self.scenes = self._pictures.scenes[: len(files) * SHARD]
        self._arrays: list[NDArray[np.float16]] = [np.load(file, mmap_mode="r") for file in files]

    def __len__(self) -> int:
        return len(self.scenes)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.stack([self._arrays[i // SHARD][i % SHARD] for i in indices]).astype(np.float32)

    def subjects(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """The share of each latent cell that subjects take, 0…1: (N, H/4, W/4)."""
        return np.stack([self._pictures.coverage(int(i)) for i in indices]).astype(np.float32) / np.float32(255)


def map_shards(root: Path, bucket: Bucket, part: tuple[int, int] = (0, 1)) -> None:
    """Map the subjects of every shard of `bucket` that has no maps yet; `part` (i, n): of n shards only the i-th."""
    for file in Pictures(root, bucket).files[part[0] :: part[1]]:
        target = root / "maps" / str(bucket) / file.name
        if not target.exists():
            save_array(target, np.stack([subject_map(bucket, int(file.stem), index) for index in range(SHARD)]))


def encode_shards(
    root: Path,
    bucket: Bucket,
    encoder: str,
    encode: Callable[[NDArray[np.uint8]], NDArray[np.float16]],
    part: tuple[int, int] = (0, 1),
) -> None:
    """Encode every shard of `bucket` that has no latents yet and map its subjects; `part` as for `map_shards`."""
    for number, (file, pictures) in enumerate(Pictures(root, bucket).shards()):
        target = root / "latents" / encoder / str(bucket) / file.name
        if number % part[1] == part[0] and not target.exists():
            save_array(target, encode(pictures))
    map_shards(root, bucket, part)
