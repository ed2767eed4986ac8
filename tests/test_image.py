from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from studio import image
from studio.errors import TooLarge, UnreadablePicture

CAP = 40_000_000


def saved(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (32, 16)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, (255, 0, 0))
    picture.paste((0, 0, 255), (size[0] // 2, 0, *size))
    return picture.convert(mode)


def png_of(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    middle = b"".join(chunk(kind, body) for kind, body in extra)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + middle
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_three_formats_are_read_by_content(kind: str) -> None:
    picture = image.decode(saved(halves(), kind), CAP)
    assert picture.mode == "RGB"
    assert picture.size == (32, 16)
    red, _, blue = picture.getpixel((2, 8))  # type: ignore[misc]
    assert red > 200 > 60 > blue


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello", "cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read"),
        (saved(halves("P"), "GIF"), "GIF"),
        (saved(halves(), "BMP"), "BMP"),
        (saved(halves(), "TIFF"), "TIFF"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (saved(Image.new("RGB", (1, 1))), "1×1"),
        (saved(Image.new("RGB", (4000, 2))), "4000×2"),
    ],
)
def test_anything_else_gets_one_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(UnreadablePicture, match=sentence) as refused:
        image.decode(data, CAP)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_a_picture_cut_off_is_refused(kind: str, part: float) -> None:
    noise = Image.effect_noise((96, 96), 80).convert("RGB")
    data = saved(noise, kind)
    with pytest.raises(UnreadablePicture):
        image.decode(data[: int(len(data) * part)], CAP)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    side = 13_300
    bomb = png_of(side, side, 1, 0, bytes((side + 7) // 8 + 1) * side)
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(TooLarge, match="40 million"):
        image.decode(bomb, CAP)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_bomb_is_refused_where_warnings_are_only_warnings() -> None:
    bomb = png_of(13_300, 13_300, 1, 0, b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TooLarge, match="13300×13300"):
            image.decode(bomb, CAP)


def test_the_cap_counts_pixels_exactly() -> None:
    data = saved(Image.new("RGB", (100, 100)))
    assert image.decode(data, 10_000).size == (100, 100)
    with pytest.raises(TooLarge, match="100×100"):
        image.decode(data, 9_999)


@pytest.mark.parametrize(
    ("turn", "size", "red_at"),
    [
        (1, (32, 16), (0, 8)),
        (2, (32, 16), (31, 8)),
        (3, (32, 16), (31, 8)),
        (4, (32, 16), (0, 8)),
        (5, (16, 32), (8, 0)),
        (6, (16, 32), (8, 0)),
        (7, (16, 32), (8, 31)),
        (8, (16, 32), (8, 31)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_exif_orientation_is_applied(kind: str, turn: int, size: tuple[int, int], red_at: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = image.decode(saved(halves(), kind, exif=exif), CAP)
    assert picture.size == size
    red, _, blue = picture.getpixel(red_at)  # type: ignore[misc]
    assert red > 180 > 80 > blue


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
def test_broken_exif_does_not_cost_the_picture() -> None:
    data = saved(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 20)
    assert image.decode(data, CAP).size == (32, 16)


def test_sixteen_bits_become_eight_by_scale() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    grey = Image.fromarray(np.tile(ramp, (16, 1)))
    assert grey.mode == "I;16"
    row = np.asarray(image.decode(saved(grey), CAP))[8, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, 64)).max() <= 1

    rows = b"".join(b"\0" + b"".join(struct.pack(">3H", v, 0, 65535 - v) for v in ramp) for _ in range(16))
    row = np.asarray(image.decode(png_of(64, 16, 16, 2, rows), CAP))[8].astype(int)
    assert np.abs(row[:, 0] - np.linspace(0, 255, 64)).max() <= 1
    assert np.abs(row[:, 2] - np.linspace(255, 0, 64)).max() <= 1


def test_a_sixteen_bit_colour_key_is_harmless() -> None:
    rows = (b"\0" + struct.pack(">3H", 60_000, 300, 7) * 16) * 16
    key = (b"tRNS", struct.pack(">3H", 60_000, 300, 7))
    assert image.decode(png_of(16, 16, 16, 2, rows, key), CAP).getpixel((0, 0)) == (255, 255, 255)
    grey = (b"\0" + struct.pack(">H", 30_000) * 16) * 16
    assert image.decode(png_of(16, 16, 16, 0, grey, (b"tRNS", b"\x75\x30")), CAP).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white_and_hides_what_it_hid(kind: str) -> None:
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    assert image.decode(saved(clear, kind, lossless=True), CAP).getpixel((8, 8)) == (255, 255, 255)
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    grey = image.decode(saved(half, kind, lossless=True), CAP).getpixel((8, 8))
    assert grey == (127, 127, 127)


def test_grey_palette_and_colour_key_follow_their_policies() -> None:
    assert image.decode(saved(Image.new("L", (16, 16), 90)), CAP).getpixel((0, 0)) == (90, 90, 90)
    assert image.decode(saved(Image.new("LA", (16, 16), (0, 0))), CAP).getpixel((0, 0)) == (255, 255, 255)
    assert image.decode(saved(Image.new("1", (16, 16), 1)), CAP).getpixel((0, 0)) == (255, 255, 255)
    assert image.decode(saved(halves("P")), CAP).getpixel((2, 2)) == (255, 0, 0)
    keyed = saved(Image.new("RGB", (16, 16), (0, 255, 0)), transparency=(0, 255, 0))
    assert image.decode(keyed, CAP).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (16, 16), 3)
    palette.putpalette([0] * 768)
    assert image.decode(saved(palette, transparency=3), CAP).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_becomes_rgb() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = image.decode(saved(cyan, "JPEG"), CAP).getpixel((8, 8))  # type: ignore[misc]
    assert red < 40
    assert min(green, blue) > 200


def test_a_colour_profile_is_converted_and_a_broken_one_ignored() -> None:
    lab_like = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert image.decode(saved(halves(), icc_profile=lab_like), CAP).getpixel((2, 2)) == (255, 0, 0)
    assert image.decode(saved(halves(), icc_profile=b"not a profile"), CAP).getpixel((2, 2)) == (255, 0, 0)
    wrong_space = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert image.decode(saved(halves(), icc_profile=wrong_space), CAP).getpixel((2, 2)) == (255, 0, 0)


def test_only_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for kind in ("PNG", "WEBP"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert image.decode(data, CAP).getpixel((8, 8)) == (255, 0, 0)


def test_nothing_of_the_files_metadata_survives() -> None:
    exif = Image.Exif()
    exif[0x010E] = "Ann's address"
    exif.get_ifd(0x8825)[1] = "N"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret prompt")
    for data in (saved(halves(), pnginfo=info, exif=exif), saved(halves(), "JPEG", exif=exif, comment=b"secret")):
        picture = image.decode(data, CAP)
        assert picture.info == {}
        assert len(picture.getexif()) == 0
        again = saved(picture, "JPEG") + saved(picture, "PNG")
        assert b"secret" not in again
        assert b"Exif" not in again


SEEDS = [
    saved(halves(size=(24, 24)), "PNG"),
    saved(halves("P", (24, 24)), "PNG"),
    saved(halves("RGBA", (24, 24)), "WEBP"),
    saved(halves(size=(24, 24)), "JPEG"),
    saved(halves("CMYK", (24, 24)), "JPEG"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_damaged_bytes_give_a_picture_or_a_sentence(seed: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    with contextlib.suppress(UnreadablePicture, TooLarge):
        assert image.decode(bytes(data), 100_000).mode == "RGB"


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_noise_gives_a_sentence(data: bytes) -> None:
    with pytest.raises(UnreadablePicture):
        image.decode(data, CAP)


def test_png_texts_come_back_as_they_were() -> None:
    texts = {"parameters": "a café\nNegative prompt: \nSteps: 1", "pochade": '{"prompt": "狐 🦊 שלום"}'}
    data = image.png(halves(), texts)
    assert image.png_texts(data) == ((32, 16), texts)
    assert b"tEXtparameters" in data
    assert b"iTXtpochade" in data
    with pytest.raises(UnreadablePicture):
        image.png_texts(data[:-20])


def test_previews_and_thumbnails_shrink_and_never_grow() -> None:
    large = Image.effect_noise((1200, 300), 50).convert("RGB")
    with Image.open(io.BytesIO(image.jpeg(large))) as preview:
        assert preview.format == "JPEG"
        assert preview.size == (512, 128)
    with Image.open(io.BytesIO(image.thumbnail(large))) as small:
        assert small.size == (256, 64)
    with Image.open(io.BytesIO(image.thumbnail(halves()))) as same:
        assert same.size == (32, 16)


def test_a_film_strip_lays_its_frames_side_by_side() -> None:
    frames = [saved(Image.new("RGB", (64, 48), (30 * n, 0, 0)), "JPEG") for n in range(8)]
    with Image.open(io.BytesIO(image.film_strip(frames))) as strip:
        assert strip.format == "JPEG"
        assert strip.size == (8 * 64, 48)
        reds = [strip.getpixel((64 * n + 32, 24))[0] for n in range(8)]  # type: ignore[index]
    assert reds == pytest.approx([30 * n for n in range(8)], abs=6)


def test_rgb_bytes_make_a_picture_and_back(tmp_path: Path) -> None:
    rgb = bytes(range(192))
    data = image.png(image.from_rgb(8, 8, rgb))
    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png") as read:
        assert read.tobytes() == rgb
