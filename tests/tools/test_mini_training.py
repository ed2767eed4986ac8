"""The training of the embedded model learns, resumes exactly, and exports what stock pipelines load."""

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from tools.mini import data, unet
from tools.mini.captions import WORDS, caption
from tools.mini.data import SMALL, Latents, Pictures, encode_shards, render_shards, scene_from_json, scene_to_json
from tools.mini.export import assemble, export, load_pipeline, preview_fit
from tools.mini.grade import frechet
from tools.mini.grow import SCALE, clearer_steps, grow
from tools.mini.optimizer import Muon
from tools.mini.parallel import Team, run_team
from tools.mini.scene import sample_scene
from tools.mini.stages import CHANNELS, Options, adopt
from tools.mini.text import Conditioner, load_tokenizer, make_tokenizer, new_text_encoder
from tools.mini.train import Plan, batches, load_average, train
from tools.mini.unet import SCHEDULE, Focus, NoisyBatch, UnetTask, new_unet
from tools.mini.vae import VaeTask, encode, fingerprint, new_vae, to_pictures, to_tensor, whiten

# diffusers 0.42 hands tensors to np.array in a way that NumPy 2 will drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = (16, 16, 16)
THIN = (16, 16, 32, 32)
SQUARE = SMALL[0]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one shard of eight pictures of 128²."""
    torch.set_num_threads(1)
    monkeypatch.setattr(data, "SHARD", 8)
    render_shards(tmp_path, SQUARE, 8, workers=1)
    return tmp_path


def tiny_vae() -> VaeTask:
    torch.manual_seed(0)
    return VaeTask(new_vae(TINY), [], batch=2)


def quiet(_: str) -> None:
    pass


def test_stored_scenes_come_back_whole() -> None:
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng) for _ in range(50)]
    assert [scene_from_json(scene_to_json(scene)) for scene in scenes] == scenes


def test_a_stored_picture_can_be_drawn_again(root: Path) -> None:
    scene, picture = data.draw(SQUARE, 0, 3)
    pictures = Pictures(root, SQUARE)
    assert pictures.scenes[3] == scene
    np.testing.assert_array_equal(pictures[3], picture)


def test_rendering_again_keeps_the_shards_that_are_there(root: Path) -> None:
    before = (root / "pictures/128x128/00000.npy").stat().st_mtime_ns
    render_shards(root, SQUARE, 16, workers=1)
    assert (root / "pictures/128x128/00000.npy").stat().st_mtime_ns == before
    assert len(Pictures(root, SQUARE)) == 16


def test_the_autoencoder_learns_in_a_few_steps(root: Path) -> None:
    task = tiny_vae()
    task.pictures = [Pictures(root, SQUARE)]
    with torch.no_grad():
        before = float(np.mean([float(task.loss(task.prepare(step, 9))[0]) for step in range(4)]))
    train(task, Plan(2e-3, steps=24, warmup=4), Team(), root / "vae.pt", report=quiet)
    with torch.no_grad():
        after = float(np.mean([float(task.loss(task.prepare(step, 9))[0]) for step in range(4)]))
    assert after < 0.8 * before


@pytest.mark.parametrize("muon", [False, True])
def test_a_stopped_training_continues_bit_for_bit(root: Path, muon: bool) -> None:
    pictures = [Pictures(root, SQUARE)]

    def run(name: str, *stops: int) -> dict[str, Tensor]:
        for steps in stops:
            task = tiny_vae()
            task.pictures = pictures
            plan = Plan(1e-3, steps=steps, average_every=2, muon=muon)
            state = train(task, plan, Team(), root / name, report=quiet)
        assert state.step == stops[-1]
        assert state.samples == 2 * stops[-1]
        return {name: value.clone() for name, value in state.average.values.items()}

    straight, resumed = run("straight.pt", 8), run("resumed.pt", 4, 8)
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_muon_moves_matrices_along_all_directions_alike_and_the_rest_as_adam_does() -> None:
    torch.manual_seed(0)
    inner = nn.Conv2d(16, 8, 3)
    frozen = nn.Linear(4, 4).requires_grad_(False)
    model = nn.ModuleDict({"conv_in": nn.Conv2d(3, 16, 3), "inner": inner, "frozen": frozen})
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    muon = Muon(model, rate=1e-2, decay=0.0)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) if parameter.requires_grad else None
    left, _, right = torch.linalg.svd(torch.randn(8, 144), full_matrices=False)
    inner.weight.grad = (left * torch.logspace(0, -1.5, 8) @ right).view_as(inner.weight)
    muon.step()
    moved = {name: value.detach() - before[name] for name, value in model.named_parameters()}
    along = torch.linalg.svdvals(moved["inner.weight"].flatten(1)) / (1e-2 * 0.2 * 144**0.5)
    assert 0.6 < along.min() <= along.max() < 1.3
    for name in ("conv_in.weight", "conv_in.bias", "inner.bias"):
        torch.testing.assert_close(moved[name].abs(), torch.full_like(moved[name], 1e-2), atol=1e-4, rtol=0)
    assert not moved["frozen.weight"].any()
    muon.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batches_prepared_ahead_are_the_same(root: Path) -> None:
    task = tiny_vae()
    task.pictures = [Pictures(root, SQUARE)]
    for first, second in islice(zip(batches(task, 3, 0, False), batches(task, 3, 0, True), strict=True), 4):
        torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_whitening_leaves_the_picture_as_it_was_and_the_latents_normal(root: Path) -> None:
    pictures = Pictures(root, SQUARE).sample(8)
    vae = tiny_vae().model.eval()
    batch = to_tensor(pictures)
    with torch.no_grad():
        before = vae.decode(vae.encode(batch).latent_dist.mean).sample
        whiten(vae, pictures)
        latents = vae.encode(batch).latent_dist.mean
        after = vae.decode(latents).sample
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_bytes_survive_the_way_to_a_tensor_and_back(root: Path) -> None:
    pictures = Pictures(root, SQUARE).sample(4)
    np.testing.assert_array_equal(to_pictures(to_tensor(pictures)), pictures)


def test_every_word_of_the_captions_is_one_token(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    words = [word for word in sorted(WORDS) if word.isalpha()]
    assert [word for word in words if len(tokenizer.tokenize(word)) > 1] == []
    assert tokenizer.model_max_length == 77


def test_words_outside_the_vocabulary_still_have_tokens(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    ids = tokenizer("Zyxel, naïve ☂ 42!").input_ids
    assert len(ids) > 6
    assert ids.count(tokenizer.eos_token_id) == 1


def test_the_denoiser_learns_in_a_few_steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet, "SQUARE_STEPS", 1.0)
    vae = tiny_vae().model.eval()
    name = fingerprint(vae)
    encode_shards(root, SQUARE, name, lambda batch: encode(vae, batch))
    tokenizer = make_tokenizer(root / "tokenizer")
    condition = Conditioner(tokenizer, new_text_encoder(tokenizer).eval())
    torch.manual_seed(0)
    task = UnetTask(new_unet(THIN), [Latents(root, SQUARE, name)], condition, batch=4)
    assert not task.simple
    with torch.no_grad():
        before = float(np.mean([float(task.loss(task.prepare(step, 9))[0]) for step in range(4)]))
    train(task, Plan(2e-3, steps=32, warmup=4, muon=True), Team(), root / "unet.pt", report=quiet)
    with torch.no_grad():
        after = float(np.mean([float(task.loss(task.prepare(step, 9))[0]) for step in range(4)]))
    assert after < 0.9 * before


def test_a_subject_s_map_lies_on_the_subject_in_the_stored_picture(root: Path) -> None:
    pictures, ink = Pictures(root, SQUARE), []
    for index in range(8):
        cells = cv2.resize(data.subject_map(SQUARE, 0, index), (128, 128), interpolation=cv2.INTER_NEAREST) > 127
        assert 0.02 < cells.mean() < 0.6
        edges = cv2.Canny(pictures[index], 60, 120) > 0
        ink.append(edges[cells].mean() / edges[~cells].mean())
    assert np.mean(ink) > 1.5  # subjects have more outlines than their surroundings


class Nothing(nn.Module):
    """Predicts 0 everywhere, so that the loss is the mean square of the velocity."""

    device = torch.device("cpu")

    def forward(self, noisy: Tensor, *_: object, **__: object) -> tuple[Tensor]:
        return (torch.zeros_like(noisy),)


def same(ids: Tensor) -> Tensor:
    return ids


def test_the_loss_weighs_subjects_as_it_is_told() -> None:
    half = torch.zeros(1, 4, 4)
    half[..., :2] = 1
    clean = half[:, None].expand(1, 4, 4, 4)  # the velocity is 0 but on the subject
    batch = NoisyBatch(torch.zeros(1, 77), clean, torch.zeros_like(clean), torch.tensor([999]), half)
    even, focused = (
        float(UnetTask(Nothing(), [], same, 1, focus=Focus(subject)).loss(batch)[0])  # type: ignore[arg-type]
        for subject in (0.0, 3.0)
    )
    assert focused / even == pytest.approx((4 / 5) / (1 / 2), rel=1e-5)


def test_the_preview_matrix_finds_a_linear_decoder() -> None:
    rng = np.random.default_rng(0)
    pictures: NDArray[np.uint8] = np.repeat(np.repeat(rng.integers(40, 200, (3, 8, 8, 3), np.uint8), 4, 1), 4, 2)
    colors = pictures[:, ::4, ::4].astype(np.float64) / 255
    latents = np.concatenate([2 * colors - 1, rng.normal(size=(3, 8, 8, 1))], axis=3).transpose(0, 3, 1, 2)
    matrix, error = preview_fit(latents.astype(np.float16), pictures)
    np.testing.assert_allclose(matrix, [*(np.eye(3) / 2), [0, 0, 0], [0.5, 0.5, 0.5]], atol=2e-3)
    assert error < 2e-3


def test_the_frechet_distance_is_the_squared_shift_of_two_equal_clouds() -> None:
    cloud = np.random.default_rng(0).normal(size=(500, 3))
    assert frechet(cloud, cloud) == pytest.approx(0, abs=1e-6)
    assert frechet(cloud, cloud + np.array([3.0, 0.0, 4.0])) == pytest.approx(25, rel=1e-6)


def test_an_export_replaces_the_old_folder_whole(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    parts = assemble(new_vae(TINY).eval(), new_text_encoder(tokenizer).eval(), tokenizer, new_unet(THIN))
    target = tmp_path / "model"
    target.mkdir()
    (target / "left over").touch()
    export(parts, target, {"Denoiser": "untrained"}, {})
    assert not (target / "left over").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tokenizer"]
    assert "untrained" in (target / "README.md").read_text()
    again = load_tokenizer(target / "tokenizer")
    text = caption(sample_scene(np.random.default_rng(1)), np.random.default_rng(1))
    assert again(text).input_ids == tokenizer(text).input_ids
    assert load_pipeline(target).unet.dtype == torch.float32


def test_training_goes_on_from_an_export_where_it_was(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    denoiser = new_unet(CHANNELS["large"])
    figures = {"unet-large": {"steps": 7, "samples": 70, "minutes": 1.5}}
    export(
        assemble(new_vae().eval(), new_text_encoder(tokenizer).eval(), tokenizer, denoiser), tmp_path / "m", {}, figures
    )
    options = Options(root=tmp_path / "root")
    adopt(options, tmp_path / "m")
    again = new_unet(CHANNELS["large"])
    assert load_average(options.run("unet-large"), again) == (7, 70, 90.0)
    torch.testing.assert_close(again.state_dict(), denoiser.state_dict(), atol=1e-3, rtol=1e-3)
    with pytest.raises(FileExistsError, match="there already"):
        adopt(options, tmp_path / "m")


def test_a_grown_denoiser_sees_in_a_large_picture_what_the_small_one_sees_in_its_half() -> None:
    torch.manual_seed(0)
    channels, step = (32, 16, 32, 32), 850
    small = new_unet(channels)
    latents = interpolate(torch.randn(8, 4, 8, 8), scale_factor=4, mode="bicubic")
    alpha = DDPMScheduler(**SCHEDULE).alphas_cumprod[step]
    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * torch.randn(8, 4, 32, 32)
    words = torch.randn(8, 77, 192)
    candidates = (grow(small, latents), new_unet((32, *channels)))
    with torch.no_grad():
        wanted = small(SCALE * avg_pool2d(noisy, 2), clearer_steps()[step], words).sample
        likeness = [
            np.corrcoef(avg_pool2d(large(noisy, torch.tensor(step), words).sample, 2).ravel(), wanted.ravel())[0, 1]
            for large in candidates
        ]
    assert likeness[0] > 0.45
    assert abs(likeness[1]) < 0.25


def test_halving_a_picture_makes_its_noise_that_of_an_earlier_step() -> None:
    alphas, steps = DDPMScheduler(**SCHEDULE).alphas_cumprod, clearer_steps()
    for step in (200, 500, 800):
        ratio = alphas[step] / (1 - alphas[step])
        alpha = np.interp(float(steps[step]), np.arange(1000), alphas.numpy())
        assert alpha / (1 - alpha) == pytest.approx(4 * float(ratio), rel=0.02)


class Scalar:
    """A task whose gradient differs by rank: rank 0 pulls its number up, rank 1 down, by one each."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)

    def samples_per_step(self) -> int:
        return 1

    def prepare(self, step: int, rank: int) -> int:
        return 1 if rank else -1

    def loss(self, batch: int) -> tuple[Tensor, dict[str, float]]:
        return self.model.weight.float().sum() * batch, {}


def train_scalar(team: Team, folder: Path) -> None:
    state = train(Scalar(), Plan(0.1, steps=4, warmup=1), team, folder / "scalar.pt", report=quiet)
    (folder / str(team.rank)).write_text(f"{float(state.model.weight)} {state.samples}")  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_workers_end_with_the_mean_of_what_they_learnt(tmp_path: Path) -> None:
    run_team(2, train_scalar, tmp_path)
    results = [(tmp_path / str(rank)).read_text().split() for rank in range(2)]
    assert results[0] == results[1]
    assert float(results[0][0]) == pytest.approx(0, abs=1e-6)
    assert results[0][1] == "8"
    model = nn.Linear(1, 1, bias=False)
    assert load_average(tmp_path / "scalar.pt", model)[:2] == (4, 8)


EXPORTED = Path(__file__).parents[2] / "assets" / "mini"


@pytest.mark.slow
def test_the_stock_pipelines_draw_with_the_exported_model() -> None:
    parts = load_pipeline(EXPORTED).components
    picture = Image.new("RGB", (256, 256), (90, 140, 220))
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (64, 64, 192, 192))
    painted = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)(
        "a red house", image=picture, mask_image=mask, num_inference_steps=2, output_type="np"
    ).images
    changed = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)(
        "a red house", image=picture, strength=0.6, num_inference_steps=4, output_type="np"
    ).images
    assert painted.shape == changed.shape == (1, 256, 256, 3)
    assert np.isfinite(painted).all()
    assert np.isfinite(changed).all()
