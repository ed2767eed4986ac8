from __future__ import annotations

from pathlib import Path

import pytest
import torch

from studio.diffusion import memory, residency
from studio.diffusion.residency import ON_CARD, ON_HOST, Idle, Reserve, Weight
from studio.errors import BadRequest

GB = residency.GB
#: An SDXL-like model: 6.9 GB in all, a denoiser of 5.1, its largest block 0.4.
LARGE = Weight(int(6.9 * GB), int(5.1 * GB), int(0.4 * GB))


def idle(*used: int) -> list[Idle]:
    return [Idle(f"m{number}", number, frozenset({f"unet{number}", "vae"})) for number in used]


SIZES = {"unet1": 5, "unet2": 6, "unet3": 7, "vae": 1, "new": 4}


@pytest.mark.parametrize(
    ("there", "staying", "budget", "expected"),
    [
        ((1, 2), [{"new"}], 16, ()),
        ((1, 2), [{"new"}], 15, ("m1",)),
        ((2, 1), [{"new"}], 15, ("m1",)),
        ((1, 2, 3), [{"new"}], 12, ("m1", "m2")),
        ((1, 2), [{"new"}], 10, ("m1", "m2")),
        ((1, 2), [{"new"}], 4, ("m1", "m2")),
        ((1, 2), [{"new"}], 3, None),
        ((), [{"new"}], 3, None),
        # What is shared goes with its last holder only.
        ((1,), [{"unet2", "vae"}, {"new"}], 11, ("m1",)),
        ((1,), [{"unet2", "vae"}, {"new"}], 10, None),
    ],
)
def test_the_least_recently_used_leave_first_and_no_more_of_them_than_need_to(
    there: tuple[int, ...], staying: list[set[str]], budget: int, expected: tuple[str, ...] | None
) -> None:
    assert residency.victims(idle(*there), [frozenset(parts) for parts in staying], SIZES, budget) == expected


@pytest.mark.parametrize(
    ("room", "reserve", "name"),
    [
        (24.0, 4.0, "whole"),
        (10.9, 4.0, "whole"),
        (10.8, 4.0, "offload"),
        (9.1, 4.0, "offload"),
        (9.0, 4.0, "groups"),
        (1.0, 4.0, "groups"),  # the reserve may be an unlucky one: try, rather than change the picture
    ],
)
def test_the_roomiest_mode_that_fits_is_chosen_and_none_that_changes_the_picture(
    room: float, reserve: float, name: str
) -> None:
    chosen = residency.mode(ON_CARD, LARGE, int(room * GB), int(reserve * GB))
    assert chosen.name == name
    assert chosen.is_exact


@pytest.mark.parametrize("ladder", [ON_CARD, ON_HOST])
def test_every_rung_has_a_leaner_one_but_the_last(ladder: tuple[residency.Mode, ...]) -> None:
    walked = [ladder[0]]
    while (below := residency.leaner(ladder, walked[-1])) is not None:
        walked.append(below)
    assert tuple(walked) == ladder
    needed = [LARGE.on_card(mode) for mode in ladder]
    assert needed == sorted(needed, reverse=True)


def test_an_optional_mode_falls_to_what_takes_less_memory() -> None:
    compiled, *quantised = residency.OPTIONAL
    assert residency.leaner(ON_CARD, compiled) == ON_CARD[1]
    for mode in quantised:
        tiled = residency.leaner(ON_CARD, mode)
        assert tiled is not None
        assert (tiled.tiled, tiled.storage, tiled.span) == (True, mode.storage, mode.span)
        assert residency.leaner(ON_CARD, tiled) is None


def test_a_mode_this_machine_does_not_have_is_refused_in_a_sentence() -> None:
    assert residency.named(ON_CARD, "offload") is ON_CARD[1]
    assert residency.named(ON_HOST, "auto") is None
    with pytest.raises(BadRequest, match=r"mode “offload” on this device; choose auto, whole, tiled, half\.$"):
        residency.named(ON_HOST, "offload")


def test_what_a_picture_takes_is_guessed_once_and_then_known() -> None:
    reserve = Reserve()
    assert reserve.of("sdxl", 1024 * 1024, 2) == 2 * 2**30
    reserve.took("sdxl", 512 * 512, 300 * 2**20)
    reserve.took("sdxl", 512 * 512, 200 * 2**20)
    assert reserve.of("sdxl", 512 * 512, 2) == 300 * 2**20
    assert reserve.of("sdxl", 1024 * 1024, 2) == 1200 * 2**20
    assert reserve.of("other", 1024 * 1024, 4) == 4 * 2**30
    reserve.took("other", 512 * 512, 0)
    assert reserve.of("other", 1024 * 1024, 4) == 4 * 2**30


@pytest.mark.parametrize(
    ("size", "need", "free", "told"),
    [
        ((1024, 768), 9.2, 6.1, "A picture of 1024 × 768 needs about 9.2 GB, 6.1 GB free; try 832 px or offload."),
        (
            (1024, 768),
            9.2,
            0.4,
            "A picture of 1024 × 768 needs about 9.2 GB, 400 MB free; try a smaller size or offload.",
        ),
        (
            (256, 256),
            2.0,
            1.5,
            "A picture of 256 × 256 needs about 2.0 GB, 1.5 GB free; try a smaller size or offload.",
        ),
        (
            (512, 512),
            1.0,
            6.0,
            "A picture of 512 × 512 needs more memory than there is; try a smaller size or offload.",
        ),
    ],
)
def test_a_picture_that_found_no_room_is_told_what_would_do(
    size: tuple[int, int], need: float, free: float, told: str
) -> None:
    assert residency.too_much(*size, int(need * GB), int(free * GB), ["offload"]) == told


@pytest.mark.parametrize(
    ("error", "lacked"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"), int(2.5 * 2**30)),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), 20 * 2**20),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error"), 4096),
        (MemoryError(), 1),
        (torch.OutOfMemoryError("out of memory"), 1),
        (RuntimeError("mat1 and mat2 shapes"), 0),
        (ValueError("Tried to allocate 5 GiB"), 0),
    ],
)
def test_a_lack_of_memory_is_told_from_other_failures(error: Exception, lacked: int) -> None:
    assert memory.tried(error) == lacked


def test_what_pytorch_itself_says_when_memory_lacks_is_understood() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert memory.tried(raised.value) == 2**52


def test_a_container_that_allows_less_than_the_machine_has_is_believed(tmp_path: Path) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    machine = memory.host(proc, cgroups)
    assert machine.limit > machine.free > 0

    (proc / "self" / "cgroup").write_text("0::/outer/inner\n")
    (cgroups / "outer" / "inner").mkdir(parents=True)
    (cgroups / "outer" / "memory.max").write_text("300000000\n")
    (cgroups / "outer" / "memory.current").write_text("250000000\n")
    (cgroups / "outer" / "memory.stat").write_text("anon 1\ninactive_file 100000000\nactive_file 50000000\n")
    (cgroups / "outer" / "inner" / "memory.max").write_text("max\n")
    assert memory.host(proc, cgroups) == memory.Room(300_000_000, 200_000_000)

    (proc / "self" / "cgroup").write_text("9:name=systemd:/\n4:memory:/jail\n")
    (cgroups / "memory" / "jail").mkdir(parents=True)
    (cgroups / "memory" / "jail" / "memory.limit_in_bytes").write_text("100000000")
    (cgroups / "memory" / "jail" / "memory.usage_in_bytes").write_text("99000000")
    assert memory.host(proc, cgroups) == memory.Room(100_000_000, 1_000_000)
    (cgroups / "memory" / "jail" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    assert memory.host(proc, cgroups).limit == machine.limit


def test_the_gauge_sees_memory_that_is_given_back_before_anybody_looks() -> None:
    gauge = memory.Gauge(torch.device("cpu"))
    gauge.start()
    torch.ones(25_000_000)
    peak = gauge.peak()
    if peak is None:
        pytest.skip("this system does not tell")
    assert 90_000_000 < peak < 160_000_000
