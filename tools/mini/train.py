"""The training loop that all stages share: warm-up, averaging over the team, moving average, checkpoints, resume."""

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tools.mini.optimizer import Muon, Optimizer, adam
from tools.mini.parallel import Team

Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """What one stage teaches. A step is a function of its number and the rank alone, so resuming repeats it exactly."""

    @property
    def model(self) -> nn.Module: ...

    def prepare(self, step: int, rank: int) -> Batch:
        """What the step needs, still on the CPU; may be called from another thread."""
        ...

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]: ...

    def samples_per_step(self) -> int:
        """Samples seen in one call of `loss`."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to train. The budget counts from step 0 over all restarts; whichever ends first counts."""

    learning_rate: float
    minutes: float = math.inf
    steps: int | None = None
    warmup: int = 100
    cooldown: float = 0.0
    """Share of the budget, at its end, over which the learning rate falls linearly to 2 %."""
    weight_decay: float = 0.01
    average_every: int = 8
    ema: float = 0.999
    save_minutes: float = 3.0
    device: str = "cpu"
    muon: bool = False
    """Orthogonal steps for matrices instead of Adam's."""

    def progress(self, step: int, seconds: float) -> float:
        by_time = seconds / (self.minutes * 60) if self.minutes > 0 else 1.0
        return max(by_time, step / self.steps if self.steps else 0.0)

    def rate(self, step: int, seconds: float) -> float:
        left = 1 - self.progress(step, seconds)
        fall = min(1.0, max(0.02, left / self.cooldown)) if self.cooldown else 1.0
        return self.learning_rate * fall * min(1.0, (step + 1) / self.warmup)


class MovingAverage:
    """Exponential moving average of a model's parameters; its memory grows with the steps until `decay` is reached."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int, steps: int) -> None:
        """Take in the model after `step` steps, `steps` of them since the last update."""
        decay = min(self.decay, (step + 1) / (step + 10)) ** steps
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in model.parameters()], 1 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the averaged and the present parameters, in place; calling it twice changes nothing."""
        for name, parameter in model.named_parameters():
            present = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(present)


@dataclass(slots=True)
class State:
    """One training run: the model with its optimizer and average, and how far it is."""

    model: nn.Module
    optimizer: Optimizer
    average: MovingAverage
    step: int = 0
    samples: int = 0
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write the checkpoint; a kill at any moment leaves the old one or the new one, never half of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        content = {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "optimizer": self.optimizer.state_dict(),
            "progress": (self.step, self.samples, self.seconds),
        }
        with draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def load(self, path: Path) -> None:
        content = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        for name, value in content["average"].items():
            self.average.values[name].copy_(value)
        self.step, self.samples, self.seconds = content["progress"]


def step_noise(shape: torch.Size, *seed: int) -> Tensor:
    """Normal noise that depends on the seed alone: the same for every device and after every restart."""
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.randn(shape, generator=torch.Generator().manual_seed(state))


def load_average(path: Path, model: nn.Module) -> tuple[int, int, float]:
    """Put a checkpoint's averaged parameters into `model`. Returns its steps, samples and seconds of training."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(content["model"] | content["average"])
    step, samples, seconds = content["progress"]
    return step, samples, seconds


def new_optimizer(model: nn.Module, plan: Plan) -> Optimizer:
    return (Muon if plan.muon else adam)(model, plan.learning_rate, plan.weight_decay)


def begin(task: Task[Batch], plan: Plan, checkpoint: Path, start: Path | None = None) -> State:
    """The run in `checkpoint` if there is one, else a fresh one that takes its weights from the checkpoint `start`."""
    task.model.to(plan.device).train()
    if start is not None and not checkpoint.exists():
        load_average(start, task.model)
    state = State(task.model, new_optimizer(task.model, plan), MovingAverage(task.model, plan.ema))
    if checkpoint.exists():
        state.load(checkpoint)
    return state


def batches(task: Task[Batch], first: int, rank: int, ahead: bool) -> Iterator[Batch]:
    """The batches of steps `first`, `first` + 1, …; with `ahead` the next one is prepared while this one is used."""
    if not ahead:
        yield from (task.prepare(step, rank) for step in count(first))
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(task.prepare, first, rank)
        for step in count(first + 1):
            batch = coming.result()
            coming = pool.submit(task.prepare, step, rank)
            yield batch


def train(
    task: Task[Batch],
    plan: Plan,
    team: Team,
    checkpoint: Path,
    *,
    start: Path | None = None,
    report: Callable[[str], None] = print,
) -> State:
    """Train `task` to the end of the plan's budget, continuing from `checkpoint` if it exists; saves it on the way.

    Every `average_every` steps the team's parameters are averaged and their moving average is updated.
    """
    torch.manual_seed(team.rank)
    state = begin(task, plan, checkpoint, start)
    parameters = [parameter for parameter in state.model.parameters() if parameter.requires_grad]
    clock = time.monotonic() - state.seconds
    saved, shown, seen = state.seconds, (state.seconds, state.samples), 0
    sums: dict[str, float] = {}
    # On a GPU the CPU is free to prepare; on a CPU it has better to do.
    source = batches(task, state.step, team.rank, ahead=plan.device != "cpu")
    while plan.progress(state.step, state.seconds) < 1:
        for group in state.optimizer.param_groups:
            group["lr"] = plan.rate(state.step, state.seconds)
        with torch.autocast(torch.device(plan.device).type, torch.bfloat16):
            loss, figures = task.loss(next(source))
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        state.optimizer.step()
        state.step += 1
        state.samples += task.samples_per_step() * team.size
        seen += 1
        for name, value in {**figures, "norm": float(norm)}.items():
            sums[name] = sums.get(name, 0.0) + value
        if state.step % plan.average_every and state.step != plan.steps:
            continue
        state.seconds = team.average(parameters, time.monotonic() - clock)
        state.average.update(state.model, state.step, plan.average_every)
        if seen >= 50 and team.rank == 0:
            rate = (state.samples - shown[1]) / max(1e-9, state.seconds - shown[0])
            text = " ".join(f"{name} {value / seen:.4f}" for name, value in sums.items())
            report(f"step {state.step} {state.seconds / 60:.1f} min {state.samples} seen {rate:.1f}/s {text}")
            shown, seen, sums = (state.seconds, state.samples), 0, {}
        if state.seconds - saved >= plan.save_minutes * 60:
            saved = state.seconds
            if team.rank == 0:
                state.save(checkpoint)
    if team.rank == 0:
        state.save(checkpoint)
    team.wait()
    return state
