"""Distillation to four steps: the teacher's path, the student's aim, and that it learns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tools.mini import few_steps
from tools.mini.data import SMALL
from tools.mini.few_steps import STEPS, FewStepsTask
from tools.mini.parallel import Team
from tools.mini.style_lora import style_scenes, with_lora
from tools.mini.text import Conditioner, make_tokenizer, new_text_encoder
from tools.mini.train import Plan, train
from tools.mini.unet import new_unet
from tools.mini.vae import encode, new_vae

CHANNELS = (16, 16, 32, 32)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> FewStepsTask:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    condition = Conditioner(tokenizer, new_text_encoder(tokenizer).eval())
    eye, teacher, student = new_vae((16, 16, 16)).eval(), new_unet(CHANNELS), new_unet(CHANNELS)
    student.load_state_dict(teacher.state_dict())
    scenes = style_scenes("blueprint", SMALL[0], 4, lambda pictures: encode(eye, pictures))
    return FewStepsTask(with_lora(student), teacher, [scenes], condition, 4)


class Oracle(nn.Module):
    """Knows the picture: its velocity always leads there."""

    device = torch.device("cpu")

    def __init__(self, task: FewStepsTask, picture: Tensor) -> None:
        super().__init__()
        self.task, self.picture = task, picture

    def forward(self, noisy: Tensor, times: Tensor, words: Tensor, return_dict: bool) -> tuple[Tensor]:
        picture_scale, noise_scale = self.task.levels(times)
        picture = self.picture.repeat(len(noisy) // len(self.picture), 1, 1, 1)
        noise = (noisy - picture_scale * picture) / noise_scale
        return (picture_scale * noise - noise_scale * picture,)


def test_the_levels_are_those_the_sampler_asks_for(task: FewStepsTask) -> None:
    sampler = few_steps.sampler()
    sampler.set_timesteps(STEPS)
    asked = {int(step) for number in range(20) for step in task.prepare(number, 0).times}
    assert asked == {int(step) for step in sampler.timesteps} == {999, 749, 499, 249}


def test_a_teacher_that_knows_the_picture_leads_straight_to_it(
    task: FewStepsTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = task.prepare(0, 0)
    oracle = Oracle(task, batch.clean)
    monkeypatch.setattr(task, "teacher", oracle)
    picture_scale, noise_scale = task.levels(batch.times)
    noisy = picture_scale * batch.clean + noise_scale * batch.noise
    there, then = task.ahead(noisy, batch.times, task.condition(batch.ids))
    assert (then == batch.times - 250).all()
    picture_then, noise_then = task.levels(then)
    torch.testing.assert_close(there, picture_then * batch.clean + noise_then * batch.noise, atol=1e-3, rtol=1e-3)
    monkeypatch.setattr(task, "predict", lambda noisy, times, words, guides: oracle(noisy, times, words, False)[0])
    aimed = batch.times > 0
    assert aimed.all()
    assert task.loss(batch)[0] < 1e-4, "one who knows the picture has nothing to learn from the teacher"


def test_the_student_comes_nearer_to_its_teacher(task: FewStepsTask, tmp_path: Path) -> None:
    def far() -> float:
        with torch.no_grad():
            return sum(float(task.loss(task.prepare(number, 9))[0]) for number in range(6))

    before, teacher = far(), {name: value.clone() for name, value in task.teacher.state_dict().items()}
    train(task, Plan(3e-3, steps=40, warmup=2), Team(), tmp_path / "few.pt", report=lambda _: None)
    assert far() < 0.9 * before
    assert all(torch.equal(value, teacher[name]) for name, value in task.teacher.state_dict().items())
