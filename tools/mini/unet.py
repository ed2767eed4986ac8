"""The denoiser: Stable Diffusion 1.x in small, on latents of a quarter of the picture's sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from diffusers import ControlNetModel, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor

from tools.mini.captions import caption
from tools.mini.data import SEED, WINDOWS, Bucket
from tools.mini.scene import Scene
from tools.mini.text import WIDTH, Conditioner, token_ids
from tools.mini.train import step_noise

CHANNELS = (32, 96, 192, 192)
SCHEDULE: dict[str, object] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}
NO_CAPTION = 0.1
OFFSET_NOISE = 0.1
EVEN_STEPS = 0.2
SQUARE_STEPS = 0.6
GUIDANCE = 3.0
"""What the exported model recommends, is graded at, and what its few steps are distilled from."""


@dataclass(frozen=True, slots=True)
class Focus:
    """Where the training looks: each of these makes shapes come out after fewer samples (docs/mini.md has the trials).

    A latent cell within a subject weighs 1 + `subject` times as much as one outside. Steps of noise are drawn around
    those where shapes are decided: `steps` is the mean and the deviation of their logit, but a fifth is drawn evenly.
    `close` is the share of the training steps that take windows around subjects, `simple` the share of the others that
    take simple scenes. Pictures whose signal-to-noise ratio is above `clear` weigh less.
    """

    subject: float = 4.0
    steps: tuple[float, float] | None = (1.0, 0.8)
    simple: float = 0.5
    close: float = 0.0
    clear: float = 5.0


def new_unet(channels: tuple[int, ...] = CHANNELS) -> UNet2DConditionModel:
    """Plain convolutions on the fine levels, attention to the words on the three coarse ones."""
    plain = len(channels) - 3
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",) * plain,
    )


def sampler() -> DPMSolverMultistepScheduler:
    """The default sampler of the exported pipeline: DPM++ 2M."""
    return DPMSolverMultistepScheduler(**SCHEDULE, steps_offset=1, timestep_spacing="trailing")


class NoisyBatch(NamedTuple):
    """Token ids (N, 77), latents and their noise (N, 4, H/4, W/4), the steps 0…999 (N) they are mixed at, the share of
    each latent cell that subjects take (N, H/4, W/4), and what a ControlNet is shown (N, 3, H, W), if there is one."""

    ids: Tensor
    clean: Tensor
    noise: Tensor
    times: Tensor
    subjects: Tensor
    guides: Tensor | None = None


class Source(Protocol):
    """Latents of scenes of one size: `Latents` of pictures on disk, or others."""

    @property
    def bucket(self) -> Bucket: ...

    @property
    def scenes(self) -> list[Scene]: ...

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.float32]: ...

    def subjects(self, indices: NDArray[np.int64]) -> NDArray[np.float32]: ...


class UnetTask:
    """Predict v (Salimans and Ho, arXiv:2202.00512), weighted evenly but for the almost clean pictures.

    The weight of v is (min(snr, c) + 1) / (snr + 1), c being `Focus.clear`. Min-SNR itself (Hang et al.,
    arXiv:2303.09556) has min(snr, 5) / (snr + 1), which all but ignores the noisy half of the steps, where the words
    decide what the picture will be.
    A tenth of the captions is empty, for classifier-free guidance. The noise gets a small offset per channel, so that
    the model cannot read the picture's mean colour off the noisiest step and has to take it from the words.
    """

    silent = NO_CAPTION
    offset_noise = OFFSET_NOISE

    def __init__(
        self,
        model: UNet2DConditionModel | ControlNetModel,
        latents: Sequence[Source],
        condition: Conditioner,
        batch: int,
        seed: int = 0,
        focus: Focus | None = None,
    ) -> None:
        self.model = model
        self.simple, self.close = (
            [source for source in latents if source.bucket.kind in kinds] for kinds in (("simple",), WINDOWS)
        )
        self.latents = [source for source in latents if source not in self.simple + self.close]
        self.focus = focus or Focus()
        self.condition = condition
        self.batch = batch
        self.seed = seed
        self.alphas = DDPMScheduler(**SCHEDULE).alphas_cumprod

    def samples_per_step(self) -> int:
        return self.batch

    def bucket(self, step: int) -> Source:
        """The same picture size for the whole team in one step: mostly the square one, else one of the others."""
        rng = np.random.default_rng([SEED, self.seed, step])
        if self.close and rng.random() < self.focus.close:
            return self.close[int(rng.integers(len(self.close)))]
        if self.simple and rng.random() < self.focus.simple:
            return self.simple[int(rng.integers(len(self.simple)))]
        if len(self.latents) == 1 or rng.random() < SQUARE_STEPS:
            return self.latents[0]
        return self.latents[1 + int(rng.integers(len(self.latents) - 1))]

    def _times(self, rng: np.random.Generator) -> Tensor:
        steps = rng.integers(len(self.alphas), size=self.batch)
        if self.focus.steps is not None:
            logits = rng.normal(*self.focus.steps, size=self.batch)
            dense = (len(self.alphas) / (1 + np.exp(-logits))).astype(np.int64)
            steps = np.where(rng.random(self.batch) < EVEN_STEPS, steps, dense)
        return torch.from_numpy(steps)

    def prepare(self, step: int, rank: int) -> NoisyBatch:
        rng = np.random.default_rng([SEED, self.seed, step, rank])
        source = self.bucket(step)
        picked = rng.integers(len(source), size=self.batch)
        texts = ["" if rng.random() < self.silent else self.text(source.scenes[i], rng) for i in picked]
        clean = torch.from_numpy(source.batch(picked))
        noise = step_noise(clean.shape, self.seed, step, rank)
        offset = torch.from_numpy(rng.normal(size=(self.batch, clean.shape[1], 1, 1)).astype(np.float32))
        times = self._times(rng)
        ids = token_ids(self.condition.tokenizer, texts)
        subjects, guides = self.weighed(source, picked, rng)
        return NoisyBatch(ids, clean, noise + self.offset_noise * offset, times, subjects, guides)

    def text(self, scene: Scene, rng: np.random.Generator) -> str:
        """What the words say of a scene."""
        return caption(scene, rng)

    def weighed(
        self, source: Source, picked: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Which latent cells the loss looks at, and what a ControlNet is shown."""
        return torch.from_numpy(source.subjects(picked)), None

    def predict(self, noisy: Tensor, times: Tensor, words: Tensor, guides: Tensor | None) -> Tensor:
        velocity = self.model(noisy, times, words, return_dict=False)[0]
        assert isinstance(velocity, Tensor)
        return velocity

    def loss(self, batch: NoisyBatch) -> tuple[Tensor, dict[str, float]]:
        device = self.model.device
        words = self.condition(batch.ids)
        clean, noise, times = batch.clean.to(device), batch.noise.to(device), batch.times
        alpha = self.alphas[times].view(-1, 1, 1, 1).to(device)
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        predicted = self.predict(noisy, times.to(device), words, batch.guides)
        squares = (predicted.float() - velocity).pow(2).mean(1)
        cells = 1 + self.focus.subject * batch.subjects.to(device)
        errors = (squares * cells).sum((1, 2)) / cells.sum((1, 2))
        snr = (alpha / (1 - alpha)).view(-1)
        weights = (snr.clamp(max=self.focus.clear) + 1) / (snr + 1)
        return (weights * errors).sum() / weights.sum(), {"v": squares.mean().item(), "weighted": errors.mean().item()}
