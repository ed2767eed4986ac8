"""Several training processes on one machine that average what they learn.

On a CPU one single-threaded process per core is faster than one process with a team of threads: there is one barrier
every few steps instead of one in every operator.
"""

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import start_processes


class Team:
    """The processes that train together; a team of one needs no process group."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor], clock: float) -> float:
        """Replace every tensor by its mean over the team, in place. Returns the mean clock, in seconds."""
        if self.size == 1:
            return clock
        seconds = torch.tensor([clock], dtype=torch.float32)
        flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors] + [seconds])
        dist.all_reduce(flat)
        flat /= self.size
        sizes = [tensor.numel() for tensor in tensors] + [1]
        *means, seconds = torch.split(flat, sizes)
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))
        return float(seconds)

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """A worker whose parent was killed would train on unseen; it ends instead."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _member(rank: int, size: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    try:
        work(Team(rank, size), *arguments)
    finally:
        dist.destroy_process_group()


def run_team(size: int, work: Callable[..., None], *arguments: object) -> None:
    """Call `work(team, *arguments)` in `size` processes and wait; `work` is a module-level function.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of them failed; the others have been ended.
    """
    if size == 1:
        work(Team(), *arguments)
        return
    # A worker's memory is freed and taken again at every step; without this glibc returns it to the kernel each time.
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "-1")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "4294967296")
    start_processes(_member, (size, _free_port(), work, arguments), nprocs=size, start_method="spawn")  # type: ignore[no-untyped-call]
