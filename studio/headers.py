"""What a .safetensors or .gguf file says about its tensors, checked to the last byte before any tensor is read.

Formats: https://github.com/huggingface/safetensors#format and https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from studio.errors import ModelError

SUFFIXES: Final = (".safetensors", ".gguf")

#: The largest headers in the wild (training statistics inside a LoRA, a tokenizer inside a GGUF) are near 10 MB.
MAX_HEADER: Final = 32 * 2**20
MAX_TENSORS: Final = 100_000
MAX_DIMENSIONS: Final = 8
_MAX_NAME: Final = 1024
_MAX_TEXT: Final = 2**16

#: Bits of one element.
_BITS: Final[Mapping[str, int]] = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
}

#: GGML's number of a type → its name, the elements of one block, the bytes of one block.
_BLOCKS: Final[Mapping[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """`dtype` in the format's own name (F16, BF16, Q4_K, …); `shape` outermost first, as PyTorch has it."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """`format`: safetensors or gguf. The tensors’ bytes begin at `start` and end with the file, `size` bytes long.

    `metadata` holds text; numbers of a GGUF are written out, its lists left out.
    """

    format: str
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    start: int
    size: int

    @property
    def parameters(self) -> int:
        """Number of elements of all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())


def read_header(path: Path, *, begin: int = 0, size: int | None = None) -> Header:
    """Reads the header alone, whatever the size of the file.

    With `begin` and `size`, in bytes, of weights that lie within another file; `start` counts from there.

    Raises:
        ModelError: the file is something else, damaged, or made to harm.
        OSError: it cannot be opened or read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size - begin if size is None else size
        try:
            file.seek(begin)
            start = file.read(9)
            if start[4:] != b"\0\0\0\0{":  # a length of less than 4 GB may well look like the start of a pickle
                _refuse_strangers(start)
            file.seek(begin)
            return _Gguf(file, size).header() if start[:4] == b"GGUF" else _safetensors(file, size)
        except _Damaged as reason:
            raise ModelError(f"“{path.name}” cannot be used: {reason}.") from reason


class _Damaged(Exception):
    """The rest of the sentence “x cannot be used: …”."""


def _refuse_strangers(start: bytes) -> None:
    """Files that only bear the name."""
    if not start:
        raise _Damaged("it is empty; download it again")
    if start[:2] == b"PK" or start[0] == 0x80:
        raise _Damaged("it is a pickle, which can run programs, under another name; get it as .safetensors")
    if start.startswith(b"version "):
        raise _Damaged("it is a placeholder of Git LFS; run “git lfs pull” in its folder")
    if start.lstrip()[:1] == b"<":
        raise _Damaged("it is a web page, not a model; download it again, signed in where the site asks for it")


def _safetensors(file: BinaryIO, size: int) -> Header:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _Damaged("it ends within its header; download it again")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER and (prefix[4:] != bytes(4) or length > size):
        raise _Damaged("it is neither a .safetensors nor a .gguf file")
    if length > MAX_HEADER:
        raise _Damaged(f"its header is {length / 2**20:.0f} MB long, more than the {MAX_HEADER // 2**20} MB allowed")
    text = file.read(length)
    if len(text) < length:
        raise _Damaged("it ends within its header; download it again")
    if text[:1] != b"{":
        raise _Damaged("it is neither a .safetensors nor a .gguf file")
    entries = _json(text)
    metadata = _metadata(entries.pop("__metadata__", {}))
    if len(entries) > MAX_TENSORS:
        _odd(f"it lists more than {MAX_TENSORS:,} tensors")
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        tensors[name], span = _tensor(name, entry)
        spans.append(span)
    start = 8 + length
    _cover(spans, size - start)
    return Header("safetensors", tensors, metadata, start, size)


def _json(text: bytes) -> dict[str, object]:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            _odd("its header says one thing twice")
        return found

    def number(_: str) -> NoReturn:
        _odd("its header holds a number that is none")

    try:
        decoded = text.decode("utf-8")
        found = json.loads(decoded, object_pairs_hook=unique, parse_constant=number)
        if "\\u" in decoded:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is JSON, yet no text
    except (ValueError, RecursionError) as broken:
        raise _Damaged("its header is unreadable; download it again") from broken
    assert isinstance(found, dict), "text that starts with a brace"
    return found


def _metadata(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        _odd("the notes in its header are no text")
    return found


def _tensor(name: str, entry: object) -> tuple[TensorInfo, tuple[int, int]]:
    what = f"the tensor “{name[:80]}”"
    if len(name) > _MAX_NAME or not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _odd(f"{what} is described in an unknown way")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    # `type(…) is int` because JSON's true is an int to Python.
    if not isinstance(dtype, str) or dtype not in _BITS:
        _odd(f"{what} has the unknown type {str(dtype)[:20]}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(_is_length(side) for side in shape):
        _odd(f"{what} has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_length(offset) for offset in offsets):
        _odd(f"{what} has an impossible place")
    begin, end = offsets
    bits = math.prod(shape) * _BITS[dtype]
    if bits != 8 * (end - begin):
        _odd(f"{what} has another size than its shape says")
    return TensorInfo(dtype, tuple(shape), end - begin), (begin, end)


def _is_length(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _cover(spans: list[tuple[int, int]], size: int) -> None:
    """Tensors lie one after the other, without gaps, up to the end of the file; the loading library wants it so too."""
    reached = 0
    for begin, end in sorted(spans):
        if begin < reached:
            _odd("two of its tensors overlap")
        if begin > reached:
            _odd("there is something hidden between its tensors")
        reached = end
    if reached > size:
        raise _Damaged(f"{_bytes(reached - size)} at its end are missing; download it again")
    if reached < size:
        _odd("there is something behind its last tensor")


class _Gguf:
    """Reads on from where it stands; everything it skips or takes lies within the file and within `MAX_HEADER`."""

    #: Number of a type of metadata → how `struct` calls it; 8 is text, 9 a list.
    _NUMBERS: Final[Mapping[int, str]] = {
        0: "B",
        1: "b",
        2: "H",
        3: "h",
        4: "I",
        5: "i",
        6: "f",
        7: "?",
        10: "Q",
        11: "q",
        12: "d",
    }

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._at = 0

    def header(self) -> Header:
        self._skip(4)
        version = self._number("I")
        if version not in (2, 3):
            big = version in (2 << 24, 3 << 24)
            raise _Damaged("it is written for big-endian machines" if big else f"GGUF version {version} is unknown")
        count, notes = self._number("Q"), self._number("Q")
        if count > MAX_TENSORS or notes > MAX_TENSORS:
            _odd(f"it claims more than {MAX_TENSORS:,} tensors or notes")
        metadata = self._metadata(notes)
        tensors: dict[str, TensorInfo] = {}
        spans: list[tuple[int, int]] = []
        for _ in range(count):
            name, tensor, offset = self._tensor()
            if name in tensors:
                _odd("it names one tensor twice")
            tensors[name] = tensor
            spans.append((offset, offset + tensor.nbytes))
        alignment = self._alignment(metadata)
        start = -(-self._at // alignment) * alignment
        self._check(spans, alignment, self._size - start)
        return Header("gguf", tensors, metadata, start, self._size)

    def _metadata(self, count: int) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(count):
            key = self._text(_MAX_NAME)
            if key in found:
                _odd("its header says one thing twice")
            found[key] = self._value(self._number("I"))
        return {key: value for key, value in found.items() if value}

    def _value(self, kind: int) -> str:
        """A number or a text as text, "" for a list and for a text too long to be a note."""
        if kind == 8:
            return self._text(_MAX_TEXT)
        if kind == 9:
            inner, count = self._number("I"), self._number("Q")
            if inner in self._NUMBERS:
                self._skip(count * struct.calcsize(f"<{self._NUMBERS[inner]}"))
            elif inner == 8:
                for _ in range(self._possible(count)):
                    self._skip(self._number("Q"))
            else:
                _odd("its header nests lists")
            return ""
        if kind not in self._NUMBERS:
            _odd(f"its header holds the unknown type {kind}")
        return str(self._number(self._NUMBERS[kind]))

    def _tensor(self) -> tuple[str, TensorInfo, int]:
        name = self._text(_MAX_NAME)
        what = f"the tensor “{name[:80]}”"
        dimensions = self._number("I")
        if dimensions > MAX_DIMENSIONS:
            _odd(f"{what} has an impossible shape")
        shape = tuple(reversed([self._number("Q") for _ in range(dimensions)]))
        kind, offset = self._number("I"), self._number("Q")
        if kind not in _BLOCKS:
            _odd(f"{what} has the unknown type {kind}")
        dtype, block, block_bytes = _BLOCKS[kind]
        elements = math.prod(shape)
        if elements >= 2**63 or (shape[-1] if shape else 1) % block:
            _odd(f"{what} has an impossible shape")
        return name, TensorInfo(dtype, shape, elements // block * block_bytes), offset

    def _alignment(self, metadata: Mapping[str, str]) -> int:
        stated = metadata.get("general.alignment", "32")
        alignment = int(stated) if stated.isdecimal() and len(stated) < 8 else 0
        if not 1 <= alignment <= 2**16 or alignment & (alignment - 1):
            _odd("its tensors are laid out in an unknown way")
        return alignment

    @staticmethod
    def _check(spans: list[tuple[int, int]], alignment: int, size: int) -> None:
        """Room between tensors is for their alignment alone."""
        reached = 0
        for begin, end in sorted(spans):
            if begin < reached:
                _odd("two of its tensors overlap")
            if begin % alignment or begin - reached >= alignment:
                _odd("there is something hidden between its tensors")
            reached = end
        if reached > max(size, 0):
            raise _Damaged(f"{_bytes(reached - size)} at its end are missing; download it again")
        if size - reached >= alignment:
            _odd("there is something behind its last tensor")

    def _text(self, longest: int) -> str:
        length = self._number("Q")
        if length > longest:
            self._skip(length)
            if longest == _MAX_NAME:
                _odd("its header holds an endless name")
            return ""
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as broken:
            raise _Damaged("its header is unreadable; download it again") from broken

    def _number(self, kind: str) -> int:
        (value,) = struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}")))
        return value  # type: ignore[no-any-return]  # struct knows no types

    def _take(self, count: int) -> bytes:
        self._move(count)
        data = self._file.read(count)
        if len(data) < count:
            raise _Damaged("it ends within its header; download it again")
        return data

    def _skip(self, count: int) -> None:
        self._move(count)
        self._file.seek(count, os.SEEK_CUR)

    def _move(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise _Damaged("it ends within its header; download it again")
        if self._at > MAX_HEADER:
            raise _Damaged(f"its header is longer than the {MAX_HEADER // 2**20} MB allowed")

    def _possible(self, count: int) -> int:
        """A list of `count` texts takes at least 8 bytes for each."""
        if self._at + 8 * count > self._size:
            raise _Damaged("it ends within its header; download it again")
        return count


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB" if count >= 10 * 2**20 else f"{count:,} bytes"


def _odd(what: str) -> NoReturn:
    """Not damage by accident, most likely."""
    raise _Damaged(f"{what}; get it from where it was published")
