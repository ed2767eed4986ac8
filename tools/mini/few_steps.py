"""A LoRA that draws in four steps without guidance what the model draws in many with it.

Progressive distillation (Salimans and Ho, arXiv:2202.00512) in one round: where the teacher takes several guided steps
of DDIM to the next of the four noise levels, the student learns to be there in a single unguided one (guidance
distilled as in Meng et al., arXiv:2210.03142). Both follow the same path from the same noise, so the pictures agree.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from tools.mini.text import Conditioner, token_ids
from tools.mini.unet import GUIDANCE, SCHEDULE, NoisyBatch, Source, UnetTask

STEPS = 4
TEACHER_STEPS = 3
"""The teacher's steps for one of the student's."""
RANK = 16
TOLD = {
    "modelspec.description": f"Draws in {STEPS} steps of Euler, schedule type SGM Uniform, guidance scale 1",
    "modelspec.license": "CC0-1.0",
}


def sampler() -> DDIMScheduler:
    """Calls the denoiser at the levels it was distilled for. Euler's steps between them are the same as DDIM's."""
    return DDIMScheduler(**SCHEDULE, timestep_spacing="trailing", clip_sample=False)


class FewStepsTask(UnetTask):
    """`model` has the factors that learn; `teacher` is the same denoiser without them."""

    silent = 0.0

    def __init__(
        self,
        model: UNet2DConditionModel,
        teacher: UNet2DConditionModel,
        latents: Sequence[Source],
        condition: Conditioner,
        batch: int,
    ) -> None:
        super().__init__(model, latents, condition, batch, seed=4)
        self.teacher = teacher.requires_grad_(False)
        self.nothing = condition(token_ids(condition.tokenizer, [""]))

    def _times(self, rng: np.random.Generator) -> Tensor:
        """The levels at which samplers with trailing spacing call the denoiser: 999, 749, 499, 249 for four steps."""
        span = len(self.alphas) // STEPS
        return torch.from_numpy(len(self.alphas) - 1 - span * rng.integers(STEPS, size=self.batch))

    def levels(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Scale of the picture and of the noise (N, 1, 1, 1) at steps −1…999; −1 is the clean picture."""
        alphas = torch.cat([torch.ones(1), self.alphas])[times + 1].view(-1, 1, 1, 1).to(self.teacher.device)
        return alphas.sqrt(), (1 - alphas).sqrt()

    @torch.no_grad()
    def guided(self, noisy: Tensor, times: Tensor, words: Tensor) -> Tensor:
        both = self.teacher(
            torch.cat([noisy, noisy]),
            torch.cat([times, times]).to(noisy.device),
            torch.cat([self.nothing.expand_as(words), words]),
            return_dict=False,
        )[0].float()
        without, with_words = both.chunk(2)
        guided = without + GUIDANCE * (with_words - without)
        assert isinstance(guided, Tensor)
        return guided

    def ahead(self, noisy: Tensor, times: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Where the teacher is at the student's next level, and which level that is."""
        span = len(self.alphas) // STEPS
        now = times
        for step in range(1, TEACHER_STEPS + 1):
            picture_scale, noise_scale = self.levels(now)
            velocity = self.guided(noisy, now, words)
            picture = picture_scale * noisy - noise_scale * velocity
            noise = noise_scale * noisy + picture_scale * velocity
            now = times - round(span * step / TEACHER_STEPS)
            picture_scale, noise_scale = self.levels(now)
            noisy = picture_scale * picture + noise_scale * noise
        return noisy, now

    def loss(self, batch: NoisyBatch) -> tuple[Tensor, dict[str, float]]:
        device, times = self.teacher.device, batch.times
        words = self.condition(batch.ids)
        picture_scale, noise_scale = self.levels(times)
        noisy = picture_scale * batch.clean.to(device) + noise_scale * batch.noise.to(device)
        there, then = self.ahead(noisy, times, words)
        picture_then, noise_then = self.levels(then)
        # The one picture from which a single step of DDIM arrives there, and the velocity that says so.
        ratio = noise_then / noise_scale
        picture = (there - ratio * noisy) / (picture_then - ratio * picture_scale)
        noise = (noisy - picture_scale * picture) / noise_scale
        velocity = picture_scale * noise - noise_scale * picture
        predicted = self.predict(noisy, times.to(device), words, None).float()
        error = (predicted - velocity).pow(2).mean()
        return error, {"v": error.item()}
