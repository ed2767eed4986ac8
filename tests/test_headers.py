from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from studio.errors import ModelError
from studio.headers import MAX_HEADER, TensorInfo, read_header
from tests import weight_files
from tests.weight_files import gguf, header, note, packed, text

TWO = {"a": (2, 3), "b.weight": (4,)}


def stored(folder: Path, data: bytes) -> Path:
    file = folder / "x.safetensors"
    file.write_bytes(data)
    return file


def described(folder: Path, entries: object, tensors: int = 0) -> Path:
    return stored(folder, packed(json.dumps(entries).encode(), tensors))


def entry(begin: int, end: int, shape: object = None, dtype: object = "F16") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 2] if shape is None else shape, "data_offsets": [begin, end]}


def test_names_types_shapes_sizes_and_notes_are_read(tmp_path: Path) -> None:
    file = weight_files.write(tmp_path / "x.safetensors", TWO, {"ss_output_name": "x", "ünï": "çode"})
    read = read_header(file)
    assert read.tensors == {"a": TensorInfo("F16", (2, 3), 12), "b.weight": TensorInfo("F16", (4,), 8)}
    assert read.metadata == {"ss_output_name": "x", "ünï": "çode"}
    assert (read.format, read.parameters, read.size - read.start) == ("safetensors", 10, 20)


def test_a_file_without_tensors_or_with_empty_ones_is_fine(tmp_path: Path) -> None:
    assert read_header(described(tmp_path, {})).tensors == {}
    assert read_header(described(tmp_path, {"a": entry(0, 0), "b": entry(0, 4), "c": entry(4, 4)}, 4)).size
    assert read_header(stored(tmp_path, packed(b"{}   "))).tensors == {}


def test_tensors_need_not_be_listed_in_the_order_they_lie_in(tmp_path: Path) -> None:
    assert read_header(described(tmp_path, {"b": entry(4, 8), "a": entry(0, 4)}, 8)).parameters == 4


@pytest.mark.parametrize(
    ("entries", "tensors", "why"),
    [
        ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "overlap"),
        ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "overlap"),
        ({"a": entry(0, 4), "b": entry(6, 8)}, 8, "hidden between"),
        ({"a": entry(2, 4)}, 4, "hidden between"),
        ({"a": entry(0, 4)}, 6, "behind its last tensor"),
        ({"a": entry(0, 4)}, 3, "1 bytes at its end are missing"),
        ({"a": entry(0, 2**40)}, 3, "1,048,576 MB at its end are missing"),
        ({"a": entry(4, 0, [2])}, 4, "another size"),
        ({"a": entry(0, 4, [3])}, 4, "another size"),
        ({"a": entry(0, 4, [2, 2**62, 4])}, 4, "another size"),
        ({"a": entry(0, 1, [3], "F4")}, 1, "another size"),
        ({"a": entry(0, 4, [-2, -1])}, 4, "impossible shape"),
        ({"a": entry(0, 4, [2.0])}, 4, "impossible shape"),
        ({"a": entry(0, 4, [True, 2])}, 4, "impossible shape"),
        ({"a": entry(0, 4, [1] * 99 + [2])}, 4, "impossible shape"),
        ({"a": entry(0, 4, "2")}, 4, "impossible shape"),
        ({"a": entry(0, 4, [2], "F17")}, 4, "unknown type F17"),
        ({"a": entry(0, 4, [2], ["F16"])}, 4, "unknown type"),
        ({"a": {**entry(0, 4), "data_offsets": [0]}}, 4, "impossible place"),
        ({"a": {**entry(0, 4), "data_offsets": [0, "4"]}}, 4, "impossible place"),
        ({"a": {**entry(0, 4), "more": 1}}, 4, "unknown way"),
        ({"a": [0, 4]}, 4, "unknown way"),
        ({"a" * 5000: entry(0, 4)}, 4, "unknown way"),
        ({"__metadata__": {"a": 1}}, 0, "no text"),
        ({"__metadata__": ["a"]}, 0, "no text"),
    ],
)
def test_tensors_that_lie_are_refused(tmp_path: Path, entries: object, tensors: int, why: str) -> None:
    with pytest.raises(ModelError, match=f"^“x.safetensors” cannot be used: .*{why}"):
        read_header(described(tmp_path, entries, tensors))


@pytest.mark.parametrize(
    ("json_text", "why"),
    [
        (b'{"a": 1, "a": 2}', "one thing twice"),
        (b'{"__metadata__": {"k": "v", "k": "v"}}', "one thing twice"),
        (b'{"__metadata__": {}, "__metadata__": {}}', "one thing twice"),
        (b'{"a": {"dtype": "F16", "shape": [NaN], "data_offsets": [0, 0]}}', "number that is none"),
        (b'{"a": ' + b"[" * 200_000, "unreadable"),
        (b'{"a": ' + b"1" * 5000 + b"}", "unreadable"),
        (b'{"\xff": 1}', "unreadable"),
        (b'{"\\ud800": 1}', "unreadable"),
        (b'{"__metadata__": {"a": "\\udfff"}}', "unreadable"),
        (b"{", "unreadable"),
        (b"[]", "neither a"),
        (b"\xef\xbb\xbf{}", "neither a"),
        (b"", "neither a"),
    ],
)
def test_a_header_that_is_no_clean_json_is_refused(tmp_path: Path, json_text: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        read_header(stored(tmp_path, packed(json_text)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"\x05", "ends within its header"),
        (packed(b"{}")[:-1], "ends within its header"),
        (b"\xff" * 8 + b"{}", "neither a"),
        (struct.pack("<Q", 2**63) + b"{}", "neither a"),
        (b"PK\x03\x04rest", "is a pickle"),
        (b"\x80\x04\x95rest....", "is a pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GGU", "ends within"),
        (b"GGUF", "ends within"),
    ],
)
def test_files_that_only_bear_the_name_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        read_header(stored(tmp_path, data))


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    file = stored(tmp_path, struct.pack("<Q", MAX_HEADER + 1) + b"{")
    with file.open("r+b") as opened:
        opened.truncate(2**40)  # a hole: it takes no room
    before = time.perf_counter()
    with pytest.raises(ModelError, match="more than the 32 MB allowed"):
        read_header(file)
    assert time.perf_counter() - before < 0.5


def test_a_terabyte_of_tensors_costs_no_more_than_its_header(tmp_path: Path) -> None:
    file = weight_files.write(tmp_path / "x.safetensors", {f"{n}": (2**29,) for n in range(1024)})
    before = time.perf_counter()
    assert read_header(file).parameters == 2**39
    assert time.perf_counter() - before < 0.5


@pytest.mark.parametrize("length", [0x3C, 0x80, 0x280, 0x480, 0x4B50])
def test_a_length_that_looks_like_another_format_confuses_nobody(tmp_path: Path, length: int) -> None:
    assert read_header(stored(tmp_path, packed(b"{}".ljust(length)))).format == "safetensors"


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, place: int) -> None:
    file = weight_files.write(tmp_path / "x.safetensors", TWO)
    data = file.read_bytes()
    with pytest.raises(ModelError, match="cannot be used"):
        read_header(stored(tmp_path, data[: min(place, len(data) - 1)]))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=6), st.integers(0, 6)), max_size=4),
    tail=st.integers(-8, 8),
)
def test_whatever_is_let_through_the_loading_library_takes_too(
    tmp_path: Path, edits: list[tuple[int, bytes, int]], tail: int
) -> None:
    data = packed(json.dumps(header(TWO, {"format": "pt"})).encode(), 20)
    for place, put, cut in edits:
        at = place % len(data) if data else 0
        data = data[:at] + put + data[at + cut :]
    file = stored(tmp_path, data + bytes(tail) if tail >= 0 else data[:tail])
    try:
        ours = read_header(file)
    except ModelError:
        return
    if ours.format == "safetensors":
        try:
            with safe_open(file, "np") as theirs:
                assert set(theirs.keys()) == set(ours.tensors)
        except SafetensorError as refused:
            pytest.fail(f"let through, yet {refused}")


def numbers(kind: str, *values: float) -> bytes:
    return struct.pack(f"<{len(values)}{kind}", *values)


NOTES = [
    note("general.architecture", 8, text("flux")),
    note("general.file_type", 4, numbers("I", 7)),
    note("a.bool", 7, b"\x01"),
    note("a.float", 6, numbers("f", 0.5)),
    note("tokens", 9, numbers("I", 8) + numbers("Q", 2) + text("one") + text("two")),
    note("scores", 9, numbers("I", 6) + numbers("Q", 3) + bytes(12)),
]
TENSORS = [("img_in.weight", (4, 64), 8, 0), ("bias", (3,), 0, 288)]


def test_a_gguf_file_is_read_with_its_shapes_as_pytorch_has_them(tmp_path: Path) -> None:
    read = read_header(stored(tmp_path, gguf(TENSORS, NOTES, data=288 + 12)))
    assert read.format == "gguf"
    assert read.tensors == {"img_in.weight": TensorInfo("Q8_0", (4, 64), 272), "bias": TensorInfo("F32", (3,), 12)}
    assert read.metadata == {
        "general.architecture": "flux",
        "general.file_type": "7",
        "a.bool": "True",
        "a.float": "0.5",
    }
    assert read.size - read.start == 300


def test_a_gguf_file_may_choose_its_alignment_and_pad_its_end(tmp_path: Path) -> None:
    notes = [note("general.alignment", 4, numbers("I", 64))]
    file = stored(tmp_path, gguf([("a", (16,), 0, 0), ("b", (3,), 1, 64)], notes, data=128, alignment=64))
    assert read_header(file).start % 64 == 0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gguf(TENSORS, data=299), "1 bytes at its end are missing"),
        (gguf(TENSORS, data=400), "behind its last tensor"),
        (gguf([TENSORS[0], ("bias", (3,), 0, 256)], data=300), "overlap"),
        (gguf([TENSORS[0], ("bias", (3,), 0, 320)], data=332), "hidden between"),
        (gguf([TENSORS[0], ("bias", (3,), 0, 280)], data=300), "hidden between"),
        (gguf([TENSORS[0], TENSORS[0]], data=300), "names one tensor twice"),
        (gguf([("a", (3, 33), 8, 0)], data=300), "impossible shape"),
        (gguf([("a", (2**40, 2**40), 0, 0)], data=300), "impossible shape"),
        (gguf([("a", (1,) * 9, 0, 0)], data=300), "impossible shape"),
        (gguf([("a", (4,), 4, 0)], data=300), "unknown type 4"),
        (gguf([("a", (4,), 0, 2**62)], data=300), "hidden between|missing"),
        (gguf([("a" * 2000, (4,), 0, 0)], data=16), "endless name"),
        (gguf([], [NOTES[0], NOTES[0]]), "one thing twice"),
        (gguf([], [note("a", 13, b"")], data=64), "unknown type 13"),
        (gguf([], [note("a", 9, numbers("I", 9) + numbers("Q", 1))], data=64), "nests lists"),
        (gguf([], [note("a", 9, numbers("I", 8) + numbers("Q", 2**60))]), "ends within"),
        (gguf([], [note("a", 9, numbers("I", 10) + numbers("Q", 2**63))]), "ends within"),
        (gguf([], [note("a", 8, numbers("Q", 2**50))]), "ends within"),
        (gguf([], [note("a", 8, numbers("Q", 2) + b"\xff\xff")]), "unreadable"),
        (gguf([], [note("general.alignment", 4, numbers("I", 3))], data=64), "laid out"),
        (gguf([], [note("general.alignment", 4, numbers("I", 0))], data=64), "laid out"),
        (gguf([], version=1), "version 1 is unknown"),
        (gguf([], version=3 << 24), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "claims more than"),
    ],
)
def test_a_gguf_file_that_lies_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        read_header(stored(tmp_path, data))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=9), st.integers(0, 9)), min_size=1, max_size=4)
)
def test_a_damaged_gguf_file_is_read_within_its_bounds_or_refused(
    tmp_path: Path, edits: list[tuple[int, bytes, int]]
) -> None:
    data = gguf(TENSORS, NOTES, data=300)
    for place, put, cut in edits:
        at = place % len(data)
        data = data[:at] + put + data[at + cut :]
    try:
        read = read_header(stored(tmp_path, data))
    except ModelError:
        return
    assert sum(tensor.nbytes for tensor in read.tensors.values()) <= len(data) - read.start


def test_the_tokens_of_a_text_encoder_are_skipped_quickly(tmp_path: Path) -> None:
    tokens = b"".join(text(f"token{n}") for n in range(200_000))
    file = stored(tmp_path, gguf([], [note("tokens", 9, numbers("I", 8) + numbers("Q", 200_000) + tokens)]))
    before = time.perf_counter()
    assert read_header(file).metadata == {}
    assert time.perf_counter() - before < 2
