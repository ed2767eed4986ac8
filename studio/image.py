"""Pictures as bytes and back, with Pillow alone: uploads are read safely, results are written small or whole."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from studio.errors import TooLarge, UnreadablePicture

#: Below this no model of the field can work on a picture, and it is more likely a tracking pixel than a drawing.
MIN_SIDE: Final = 8
THUMBNAIL: Final = 256
PREVIEW: Final = 512

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_ORIENTATION: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What Pillow's decoders raise on broken input, found by fuzzing them.
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
#: EXIF's texts, by their numbers. ComfyUI puts its graphs into Make and Model.
_COMMENTS: Final = {
    ExifTags.Base.UserComment: "UserComment",
    ExifTags.Base.ImageDescription: "ImageDescription",
    ExifTags.Base.Make: "Make",
    ExifTags.Base.Model: "Model",
    ExifTags.Base.Software: "Software",
    ExifTags.Base.MakerNote: "MakerNote",
}
_NO_TEXTS: Final = ("exif", "icc_profile", "xmp", "photoshop", "transparency")
_UTF_16: Final = b"UNICODE\0"
_LONGEST_TEXT: Final = 8_000_000
_OTHERS: Final = (
    (b"GIF8", 0, "a GIF"),
    (b"BM", 0, "a BMP"),
    (b"II*\x00", 0, "a TIFF"),
    (b"MM\x00*", 0, "a TIFF"),
    (b"8BPS", 0, "a Photoshop"),
    (b"ftypheic", 4, "a HEIC"),
    (b"ftypmif1", 4, "a HEIC"),
    (b"ftypavif", 4, "an AVIF"),
    (b"%PDF", 0, "a PDF"),
)


def decode(data: bytes, max_pixels: int, ground: str = "white") -> Image.Image:
    """Read an upload as plain 8-bit sRGB without any metadata.

    What it is decides, not what it is called: PNG, JPEG or WebP, the first frame of an animation. Its EXIF orientation
    is applied. Transparency (RGBA, LA, a palette's or a colour key's) is laid on `ground`, so hidden colours stay
    hidden.
    16 bits become 8 by scale; CMYK and grey become RGB; an embedded colour profile is converted to sRGB, a broken one
    is ignored. EXIF, GPS, comments and profiles are dropped.

    Raises:
        TooLarge: more than `max_pixels` pixels; found out before anything is decoded.
        UnreadablePicture: another format, broken, cut off, or less than 8 pixels on a side.
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise _too_large(max_pixels) from bomb
    except _BROKEN as broken:
        raise UnreadablePicture(_not_a_picture(data)) from broken
    with picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise _too_large(max_pixels, width, height)
        if min(width, height) < MIN_SIDE:
            raise UnreadablePicture(
                f"This picture is only {width}×{height} pixels; choose one with at least {MIN_SIDE} on each side."
            )
        try:
            picture.load()
            return _flatten(_upright(picture), ground)
        except MemoryError as full:
            raise _too_large(max_pixels, width, height) from full
        except _BROKEN as broken:
            raise UnreadablePicture(
                f"This {picture.format} picture is damaged or cut off; open it in another program and save it anew."
            ) from broken


def decode_mask(data: bytes, max_pixels: int) -> Image.Image:
    """Read a mask as 8-bit grey, as `decode` does; what is transparent is not masked.

    Raises:
        TooLarge, UnreadablePicture: as `decode`.
    """
    return decode(data, max_pixels, ground="black").convert("L")


def _too_large(max_pixels: int, width: int = 0, height: int = 0) -> TooLarge:
    what = f"This picture is {width}×{height} pixels" if width else "This picture is far too large"
    return TooLarge(f"{what}; scale it down to at most {max_pixels / 1e6:g} million pixels.")


def _not_a_picture(data: bytes) -> str:
    if not data:
        return "This file is empty; choose a PNG, JPEG or WebP picture."
    for magic, at, name in _OTHERS:
        if data[at : at + len(magic)] == magic:
            return f"This is {name} file; save it as PNG, JPEG or WebP and try again."
    return "This file cannot be read as a picture; choose a PNG, JPEG or WebP picture."


def _upright(picture: Image.Image) -> Image.Image:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        return picture
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    turned.info = dict(picture.info)
    return turned


def _flatten(picture: Image.Image, ground: str) -> Image.Image:
    """Any mode → RGB on `ground`, as a new image that carries nothing of the file along."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):
        # Pillow clips 16 bits to 255 instead of scaling them.
        picture = picture.point(lambda value: value * (1 / 257) + 0.5).convert("L")
    key = picture.info.get("transparency")
    if picture.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        picture.info["transparency"] = tuple(value >> 8 for value in key)
    alpha: Image.Image | None = None
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        alpha = rgba.getchannel("A")
        picture = rgba.convert("RGB")
    elif picture.mode not in ("RGB", "CMYK", "L"):
        picture = picture.convert("RGB")
    flat = Image.new("RGB", picture.size, ground)
    flat.paste(_srgb(picture, profile), mask=alpha)
    return flat


def _srgb(picture: Image.Image, profile: object) -> Image.Image:
    space = {"RGB": "RGB ", "CMYK": "CMYK", "L": "GRAY"}[picture.mode]
    if isinstance(profile, bytes) and profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if given.profile.xcolor_space == space:
                changed = ImageCms.profileToProfile(picture, given, ImageCms.createProfile("sRGB"), outputMode="RGB")
                if changed is not None:
                    return changed
        except (ImageCms.PyCMSError, *_BROKEN):
            pass  # a broken profile does not make the picture unreadable
    return picture.convert("RGB")


def from_rgb(width: int, height: int, rgb: bytes) -> Image.Image:
    """`rgb` holds height × width × 3 bytes."""
    return Image.frombytes("RGB", (width, height), rgb)


def png(picture: Image.Image, texts: Mapping[str, str] | None = None) -> bytes:
    """A PNG whose `texts` stand before the pixels; what Latin-1 cannot say becomes an `iTXt` chunk."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in (texts or {}).items():
        info.add_text(keyword, text)
    out = io.BytesIO()
    picture.save(out, "PNG", pnginfo=info, compress_level=4)
    return out.getvalue()


def png_texts(data: bytes) -> tuple[tuple[int, int], dict[str, str]]:
    """(width, height) and the text chunks of a PNG, once every chunk's checksum has been verified.

    Raises:
        UnreadablePicture: not a whole PNG.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            size = picture.size
            picture.verify()
            return size, {str(key): text for key, text in picture.info.items() if isinstance(text, str)}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *_BROKEN) as broken:
        raise UnreadablePicture("This PNG is damaged or cut off.") from broken


def texts(data: bytes) -> dict[str, str]:
    """The texts a picture carries, by keyword: of a PNG its chunks', of any the `_COMMENTS` of EXIF and `comment`.

    No pixel is decoded. A text is cut after 8 million characters.

    Raises:
        UnreadablePicture: no PNG, JPEG or WebP.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            found = {str(key): value for key, value in picture.info.items() if key not in _NO_TEXTS}
            exif = picture.getexif()
            own = exif.get_ifd(ExifTags.IFD.Exif)
            found |= {name: exif.get(tag) or own.get(tag) for tag, name in _COMMENTS.items()}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *_BROKEN) as broken:
        raise UnreadablePicture(_not_a_picture(data)) from broken
    read = {
        key[:100]: _comment(value)[:_LONGEST_TEXT] for key, value in found.items() if isinstance(value, str | bytes)
    }
    return {key: text for key, text in read.items() if text}


def copied(picture: Image.Image, kind: Literal["JPEG", "WEBP"], text: str) -> bytes:
    """A copy of high quality with `text`, if any, as its EXIF `UserComment`, as A1111 writes it: UTF-16, big end first.

    Raises:
        TooLarge: the format takes no such picture: WebP ends at 16383 pixels a side, JPEG's comments at 64 kB.
    """
    exif = Image.Exif()
    if text:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UTF_16 + text.encode("utf-16-be", "replace")
    out = io.BytesIO()
    more = {"subsampling": 0} if kind == "JPEG" else {}
    try:
        picture.convert("RGB").save(out, kind, quality=95, exif=exif, **more)
    except (OSError, ValueError) as full:
        raise TooLarge(f"This picture, or what it says of itself, is too large for {kind}; keep it as PNG.") from full
    return out.getvalue()


def _comment(value: str | bytes) -> str:
    """EXIF's comments begin with the name of their code, which not every program fills in, or minds."""
    if isinstance(value, str):
        return value.rstrip("\0")
    if value.startswith(_UTF_16):
        value = value[8:]
        # Latin letters have their zeros first in the one order, last in the other.
        order = "le" if value[1::2].count(0) > value[::2].count(0) else "be"
        return value.decode(f"utf-16-{order}", "replace").removeprefix("\ufeff").rstrip("\0")
    if value.startswith((b"ASCII\0\0\0", b"\0" * 8)):
        value = value[8:]
    return value.decode("utf-8", "replace").strip("\0")


def jpeg(picture: Image.Image, longest: int = PREVIEW, quality: int = 88) -> bytes:
    """A JPEG of at most `longest` pixels on its longer side; never enlarged."""
    small = picture.copy()
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    out = io.BytesIO()
    small.convert("RGB").save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def thumbnail(picture: Image.Image) -> bytes:
    """A JPEG of at most 256 pixels on its longer side."""
    return jpeg(picture, THUMBNAIL, quality=82)


def film_strip(frames: Sequence[bytes], longest: int = PREVIEW) -> bytes:
    """Frames, JPEGs of one shape from noise to picture, side by side in one JPEG.

    Each is scaled into the first one's size, itself at most `longest` pixels on its longer side.
    """
    assert frames, "a film needs a frame"
    pictures = [decode(frame, max_pixels=4096 * 4096) for frame in frames]
    first = pictures[0].copy()
    first.thumbnail((longest, longest))
    width, height = first.size
    strip = Image.new("RGB", (width * len(pictures), height))
    for place, picture in enumerate(pictures):
        strip.paste(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS), (place * width, 0))
    out = io.BytesIO()
    strip.save(out, "JPEG", quality=88)
    return out.getvalue()
