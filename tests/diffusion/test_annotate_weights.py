"""Every annotator with weights, loaded from small random files in the published formats by the studio's own loader."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

from studio import annotators
from studio.annotators import ANNOTATORS
from studio.diffusion.annotate import Annotators
from studio.errors import ModelError
from tests import annotator_files
from tests.diffusion.test_annotate import SIZE, unit

#: They use what their own libraries are about to give up; versions are pinned.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

#: Those whose networks take more than ten seconds to build or to ask on one core.
_LARGE = {"openpose", "depth_midas", "depth_zoe", "depth_leres", "normal_bae", "segment_anything"}
_WEIGHTED = [row for row in ANNOTATORS.values() if row.files]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub cannot be reached and has nothing in its cache; the command line has a mode for models."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sys, "argv", ["app.py", "--mode", "whole", "--port", "7861"])


#: Weights that keep random networks from having nothing to say: sure of their masks, at a distance that is not 0.
_SENSIBLE = {
    "segment_anything": {"mask_decoder.iou_prediction_head.layers.2.bias": torch.full((4,), 50.0)},
    "depth_midas": {"scratch.output_conv.4.bias": torch.ones(1)},
}


def put(folder: Path, key: str, seed: int = 1) -> None:
    row = annotators.find(key)
    if row.detector == "transformers":
        return _depth_anything(folder / "annotators" / key, seed)
    for number, file in enumerate(row.files):
        name = file.name.rpartition("/")[2]
        annotator_files.write(folder / "annotators", name, seed=10 * seed + number, changed=_SENSIBLE.get(key))
    return None


def _depth_anything(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    eyes = Dinov2Config(
        hidden_size=24,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=eyes, reassemble_hidden_size=24, neck_hidden_sizes=[8, 16, 24, 24], fusion_hidden_size=16
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(size={"height": 56, "width": 56}, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(
        folder
    )


def traced(folder: Path, key: str, **parameters: float) -> np.ndarray:
    studio = Annotators((folder,), torch.device("cpu"), 2**24)
    asked = unit(key, parameters=parameters)
    return np.asarray(studio.map(asked, SIZE, lambda *_: pytest.fail("nothing is to be fetched"), lambda work: work()))


def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segment Anything asks at 1024 points of a picture, which takes minutes; here at four."""
    from controlnet_aux.segment_anything import automatic_mask_generator as sam

    grids = sam.build_all_layer_point_grids
    monkeypatch.setattr(sam, "build_all_layer_point_grids", lambda side, layers, scale: grids(2, layers, scale))


@pytest.mark.parametrize(
    "key", [pytest.param(row.key, marks=pytest.mark.slow if row.key in _LARGE else ()) for row in _WEIGHTED]
)
def test_a_map_is_made_with_weights_of_the_right_format(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, key)
    if key == "segment_anything":
        few_points(monkeypatch)
    map_ = traced(tmp_path, key)
    assert map_.shape == (SIZE[1], SIZE[0], 3)
    assert map_.dtype == np.uint8
    if key != "openpose":  # random weights find nobody
        assert len(np.unique(map_)) > 1
    if key not in _LARGE:
        put(tmp_path, key, seed=2)
        assert not np.array_equal(map_, traced(tmp_path, key)), "it is these weights that are read"
    assert capsys.readouterr().out == "", "guests are quiet"
    assert sys.argv[1] == "--mode"


def test_parameters_reach_the_detector(tmp_path: Path) -> None:
    put(tmp_path, "lineart")
    assert not np.array_equal(traced(tmp_path, "lineart"), traced(tmp_path, "lineart", coarse=1))
    put(tmp_path, "scribble_hed")
    soft, strokes = (traced(tmp_path, key) for key in ("softedge_hed", "scribble_hed"))
    assert set(np.unique(strokes)) <= {0, 255}
    assert len(np.unique(soft)) > 2


def test_weights_saved_on_a_device_are_read_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        put(tmp_path, "softedge_pidi")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "annotators" / "table5_pidinet.pth")
    assert traced(tmp_path, "softedge_pidi").any()


def test_a_pickle_that_runs_something_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    folder = tmp_path / "annotators"
    folder.mkdir()
    torch.save({"state_dict": {}, "trap": Trap()}, folder / "table5_pidinet.pth")
    with pytest.raises(ModelError, match=r"Soft edges, PiDi could not be loaded .*table5_pidinet\.pth"):
        traced(tmp_path, "softedge_pidi")
    assert not (tmp_path / "sprung").exists()
    with (folder / "5_model.pth").open("wb") as file:
        pickle.dump(Trap(), file)
    with pytest.raises(ModelError, match="could not be loaded"):
        traced(tmp_path, "teed")
    assert not (tmp_path / "sprung").exists()
