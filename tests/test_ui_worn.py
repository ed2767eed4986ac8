"""The LoRAs chosen on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio import abilities, families
from studio.catalog import Catalog
from studio.errors import BadRequest
from studio.request import LoraUse, ModelSpec
from studio.ui import worn
from tests.test_catalog_files import LORA
from tests.weight_files import Shapes, write

FLUX_LORA: Shapes = {
    "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 3072),
    "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": (9216, 4),
    "lora_unet_double_blocks_0_img_attn_qkv.alpha": (),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    write(tmp_path / "styles" / "ink.safetensors", LORA)
    write(tmp_path / "sheen.safetensors", FLUX_LORA)
    return Catalog(Path("nowhere"), (tmp_path,))


def able(family: str) -> abilities.Abilities:
    return abilities.of(ModelSpec("m", "Some", Path(), family, 0, "", "", families.known(family).defaults))


def test_what_a_request_wears_is_written_by_its_key_and_read_again(catalog: Catalog) -> None:
    uses = (LoraUse(name="ink", weight=0.4, text_weight=0.0, blocks="1,0.5"), LoraUse(name="elsewhere"))
    text = worn.write(uses, catalog)
    assert [use.name for use in worn.read(text)] == ["styles/ink", "elsewhere"]
    assert worn.write(worn.read(text), catalog) == text
    assert (worn.write((), catalog), worn.read(""), worn.read(None)) == ("", (), ())


@pytest.mark.parametrize(
    "text", ["x", "{}", '[{"name": ""}]', '[{"name": "a", "weight": 9}]', '[{"name": "a", "more": 1}]', 3, "[" * 50_000]
)
def test_what_the_page_does_not_write_is_refused_in_a_sentence_and_not_restored(text: object) -> None:
    with pytest.raises(BadRequest, match="list of LoRAs could not be read"):
        worn.read(text)
    assert worn.settle(text) == ""


def test_those_made_for_other_models_stay_chosen_and_are_left_out(catalog: Catalog) -> None:
    uses = worn.read('[{"name": "styles/ink"}, {"name": "sheen"}, {"name": "gone"}]')
    left = {key: [use.name for use in worn.fitting(uses, able(key), catalog)] for key in ("sdxl", "flux", "unknown")}
    assert left == {
        "sdxl": ["styles/ink", "gone"],  # what is not here is refused by name when it is asked for
        "flux": ["sheen", "gone"],
        "unknown": ["styles/ink", "sheen", "gone"],
    }
    assert worn.fitting(uses, able("pixart"), catalog) == (), "it takes no LoRAs"
