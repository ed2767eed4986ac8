"""Weights files as tests need them: right headers, zeros for tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]


def header(shapes: Shapes, metadata: Mapping[str, str] | None = None, dtype: str = "F16") -> dict[str, object]:
    """The JSON of a safetensors file whose tensors lie one after the other."""
    width = {"F16": 2, "BF16": 2, "F32": 4, "U8": 1}[dtype]
    entries: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name, shape in shapes.items():
        end = at + prod(shape) * width
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    return entries


def packed(text: bytes, tensors: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text + bytes(tensors)


def write(path: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None, dtype: str = "F16") -> Path:
    """A safetensors file; its tensors are a hole in the file, so that large ones cost nothing."""
    entries = header(shapes, metadata, dtype)
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(packed(text))
        file.truncate(8 + len(text) + sum(prod(shape) for shape in shapes.values()) * {"F32": 4, "U8": 1}.get(dtype, 2))
    return path


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def gguf(
    tensors: Sequence[tuple[str, tuple[int, ...], int, int]],
    notes: Sequence[bytes] = (),
    *,
    data: int = 0,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A GGUF file of (name, shape as PyTorch has it, GGML type, offset) and ready-made notes."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(notes)) + b"".join(notes)
    for name, shape, kind, offset in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", kind, offset)
    return head + bytes(-len(head) % alignment) + bytes(data)


def note(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value
