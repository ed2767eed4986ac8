"""Thousands of damaged uploads: each gives a picture or a sentence, soon, and within bounds."""

from __future__ import annotations

import io
import random
import struct
import time
import warnings
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image, ImageCms

from studio import image
from studio.errors import TooLarge, UnreadablePicture

resource = pytest.importorskip("resource", reason="Windows does not tell the peak of memory")

FILES = 2_400
CAP = 1_000_000
#: Seconds one file may take, and megabytes by which all of them may raise the peak.
PATIENCE = 2.0
ROOM = 150


def seeds() -> list[bytes]:
    """One small file for each way in which the three formats are written."""
    noise = Image.effect_noise((120, 90), 60)
    colour = Image.merge("RGB", [noise, noise.rotate(180), noise.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    clear = colour.copy()
    clear.putalpha(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "words"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames: dict[str, object] = {"save_all": True, "append_images": [colour.rotate(90), colour.rotate(180)]}
    ways: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "PNG", {"exif": exif, "icc_profile": profile}),
        (clear, "PNG", {}),
        (colour.quantize(), "PNG", {"transparency": 3}),
        (noise.convert("I;16"), "PNG", {}),
        (noise.convert("1"), "PNG", {}),
        (colour, "PNG", frames),
        (colour, "JPEG", {"exif": exif, "icc_profile": profile, "comment": b"words"}),
        (colour, "JPEG", {"progressive": True, "subsampling": 0}),
        (colour.convert("CMYK"), "JPEG", {}),
        (noise, "JPEG", {"restart_marker_rows": 1}),
        (colour, "WEBP", {"exif": exif, "icc_profile": profile}),
        (clear, "WEBP", {"lossless": True}),
        (clear, "WEBP", frames),
    ]
    saved = []
    for picture, kind, options in ways:
        out = io.BytesIO()
        picture.save(out, kind, **options)
        saved.append(out.getvalue())
    return saved


def damaged(chance: random.Random, files: list[bytes]) -> bytes:
    """Bits flipped, bytes overwritten, parts cut, doubled or taken from another file; half with checksums set right."""
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice([1, 1, 2, 4, 16])):
        # Headers decide most, so half of the damage is done there.
        end = min(len(data), chance.choice([64, 700, len(data), len(data)]))
        at = chance.randrange(end)
        length = chance.choice([1, 2, 4, 50])
        match chance.randrange(7):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + length] = chance.randbytes(length)
            case 2:
                data[at : at + 4] = struct.pack(
                    chance.choice("<>") + "I", chance.choice([0, 1, 2**31 - 1, 2**32 - 1, 999])
                )
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                other = chance.choice(files)
                data[at : at + length] = other[at : at + length]
            case _:
                del data[max(at, 12) :]
        if not data:
            return b""
    return mended(bytes(data)) if chance.random() < 0.5 else bytes(data)


def mended(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the damage reaches the decoder."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        body = data[at + 4 : at + 8 + length]
        parts += [data[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + length
    return b"".join(parts)


def cases() -> Iterator[bytes]:
    chance, files = random.Random(20_261_121), seeds()
    for _ in range(FILES):
        yield damaged(chance, files)


def test_thousands_of_damaged_files_crash_nothing_hang_nothing_and_stay_small() -> None:
    for file in seeds():
        assert image.decode(file, CAP).size in ((120, 90), (90, 120)), "the seeds themselves are sound"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = 0
    sentences: list[str] = []
    slowest = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about broken EXIF
        for data in cases():
            began = time.process_time()
            try:
                picture = image.decode(data, CAP)
            except (UnreadablePicture, TooLarge) as sentence:
                sentences.append(str(sentence))
            else:
                read += 1
                assert picture.mode == "RGB"
                assert picture.width * picture.height <= CAP
                assert picture.info == {}
            slowest = max(slowest, time.process_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert read + len(sentences) == FILES
    assert all(sentence.endswith(".") and len(sentence) < 200 for sentence in sentences)
    assert read > FILES / 20, "some of the damage is harmless"
    assert len(sentences) > FILES / 5, "some of it is not"
    assert slowest < PATIENCE
    assert grown < ROOM
