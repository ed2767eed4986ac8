"""Single files in the folders of other programs."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.catalog import Catalog
from studio.catalog_index import FILE
from studio.errors import ModelError, NotFound
from tests.weight_files import Shapes, gguf, write

SDXL: Shapes = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.out.2.weight": (4, 320, 3, 3),
    "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (1, 768),
}
FLUX: Shapes = {
    "double_blocks.0.img_mod.lin.weight": (16, 32),
    "img_in.weight": (32, 64),
    "final_layer.linear.weight": (64, 32),
}
VAE: Shapes = {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)}
LORA: Shapes = {
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight": (4, 2048),
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_up.weight": (640, 4),
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.alpha": (),
}
EMBEDDING: Shapes = {"emb_params": (4, 768)}
CONTROLNET: Shapes = {
    "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (320, 768),
}
CLIP: Shapes = {f"text_model.encoder.layers.{n}.self_attn.q_proj.weight": (768, 768) for n in range(12)}


def catalog(*folders: Path, data: Path | None = None) -> Catalog:
    return Catalog(Path("nowhere"), folders, data)


def keys(found: Catalog) -> set[str]:
    return {entry.id for entry in found.entries()}


def test_a_file_is_what_its_tensors_say_wherever_it_lies(tmp_path: Path) -> None:
    for name, shapes in (("a", SDXL), ("b", LORA), ("c", VAE), ("d", EMBEDDING), ("e", CONTROLNET), ("f", CLIP)):
        write(tmp_path / "Lora" / f"{name}.safetensors", shapes)
    found = catalog(tmp_path)
    assert keys(found) == {
        *("model:Lora/a.safetensors", "lora:Lora/b", "vae:Lora/c", "embedding:Lora/d", "controlnet:Lora/e"),
        "text-encoder:Lora/f",
    }
    model = found.find("Lora/a.safetensors")
    assert (model.family, model.kind, model.title, model.defaults.width) == ("sdxl", "file", "a", 1024)
    assert found.lora("b").family == "sdxl"
    assert found.vae("c").content == "vae-4"
    assert found.controlnet("e").family == found.embedding("d").family == "sd15"
    assert found.encoders()[0].content == "clip-l"


def test_few_steps_are_the_default_of_a_file_that_says_it_is_a_turbo(tmp_path: Path) -> None:
    write(tmp_path / "sd_xl_turbo_1.0.safetensors", SDXL)
    assert catalog(tmp_path).find("sd_xl_turbo_1.0").defaults.steps == 4


def test_a_gguf_denoiser_is_a_model(tmp_path: Path) -> None:
    tensors = [("double_blocks.0.img_mod.lin.weight", (16, 32), 8, 0), ("img_in.weight", (32, 64), 8, 544)]
    (tmp_path / "flux1-dev-Q8_0.gguf").write_bytes(
        gguf([*tensors, ("final_layer.linear.weight", (64, 32), 8, 544 + 2176)], data=544 + 2176 + 2176)
    )
    spec = catalog(tmp_path).find("flux1-dev-Q8_0")
    assert (spec.family, spec.kind) == ("flux", "gguf")


def test_what_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "checkpoints" / "strange.safetensors", {"a": (2,)})
    (tmp_path / "checkpoints" / "old.ckpt").write_bytes(b"PK")
    (tmp_path / "checkpoints" / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (tmp_path / "checkpoints" / "empty.safetensors").touch()
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "old.pt").write_bytes(b"PK")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "RealESRGAN.pth").write_bytes(b"PK")
    found = catalog(tmp_path)
    refused = {entry.key: entry.refused for entry in found.entries()}
    assert "holds nothing this studio knows" in refused["checkpoints/strange.safetensors"]
    assert "ends within its header" in refused["checkpoints/cut.safetensors"]
    assert "it is empty" in refused["checkpoints/empty.safetensors"]
    assert len(refused) == 5
    with pytest.raises(ModelError, match=r"“old\.ckpt” is a pickle file, which can run programs"):
        found.find("checkpoints/old.ckpt")
    with pytest.raises(ModelError, match=r"“old\.pt” is a pickle file"):
        found.embedding("old")


def test_a_lora_is_found_by_name_path_or_alias_whatever_the_case(tmp_path: Path) -> None:
    write(tmp_path / "Lora" / "ink" / "Inkwash v2.safetensors", LORA, {"ss_output_name": "inkwash"})
    write(tmp_path / "Lora" / "inkwash.safetensors", LORA)
    found = catalog(tmp_path)
    assert {
        found.lora(name).key for name in ("Inkwash v2", "INK/inkwash V2.safetensors".replace("INK", "lora/ink"))
    } == {"Lora/ink/Inkwash v2"}
    assert found.lora("inkwash").key == "Lora/inkwash"  # a file's name wins over an alias
    with pytest.raises(NotFound, match="There is no LoRA “inkwosh”; did you mean inkwash"):
        found.lora("inkwosh")
    for hostile in ("../../x", "/etc/passwd", "", "\0", "a" * 10_000):
        with pytest.raises(NotFound):
            found.lora(hostile)


def test_what_came_since_the_last_scan_is_found_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "Lora").mkdir()
    found = catalog(tmp_path)
    assert found.loras() == ()
    write(tmp_path / "Lora" / "new.safetensors", LORA)
    assert found.changed()
    assert found.lora("new").title == "new"
    assert not found.changed()


def test_a_file_that_is_still_arriving_is_looked_at_again(tmp_path: Path) -> None:
    whole = write(tmp_path / "other" / "x.safetensors", LORA).read_bytes()
    file = tmp_path / "models" / "x.safetensors"
    file.parent.mkdir()
    file.write_bytes(whole[:-10])
    found = catalog(file.parent)
    assert "10 bytes at its end are missing" in found.entries()[0].refused
    with file.open("ab") as opened:
        opened.write(bytes(10))
    assert found.changed()
    found.refresh()
    assert found.lora("x").family == "sdxl"


def test_words_come_from_notes_beside_the_file_before_those_inside(tmp_path: Path) -> None:
    tags = json.dumps({"10_inkstyle": {"inkstyle": 40, "tree": 12, "ink wash": 39}})
    inside = {"ss_tag_frequency": tags, "ss_dataset_dirs": json.dumps({"10_inkstyle": {"img_count": 40}})}
    write(tmp_path / "a.safetensors", LORA, inside)
    write(tmp_path / "b.safetensors", LORA, inside | {"modelspec.trigger_phrase": "ink style"})
    write(tmp_path / "c.safetensors", LORA, inside)
    (tmp_path / "c.civitai.info").write_text(
        json.dumps({"trainedWords": ["inky", "<b>wash</b>"], "description": "<p>Ink"})
    )
    (tmp_path / "c.json").write_text(json.dumps({"activation text": "inky, brush", "notes": 3}))
    write(tmp_path / "d.safetensors", LORA, {"ss_tag_frequency": "[" * 100_000})
    (tmp_path / "d.json").write_text("[" * 100_000)
    found = catalog(tmp_path)
    assert [lora.triggers for lora in found.loras()] == [
        ("inkstyle", "ink wash"),
        ("ink style",),
        ("inky", "<b>wash</b>", "brush"),
        (),
    ]
    assert found.entry("lora:c").facts.about == "Ink"


def test_notes_added_later_count(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", LORA)
    found = catalog(tmp_path)
    assert found.loras()[0].triggers == ()
    (tmp_path / "a.json").write_text(json.dumps({"activation text": "ink"}))
    assert found.changed()
    found.refresh()
    assert found.loras()[0].triggers == ("ink",)


def test_the_picture_beside_a_file_is_its_preview(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.safetensors", LORA)
    (tmp_path / "a.png").touch()
    (tmp_path / "a.preview.png").touch()
    (tmp_path / "b.jpg").touch()
    previews = [entry.place.preview for entry in catalog(tmp_path).entries()]
    assert [preview and preview.name for preview in previews] == ["a.preview.png", "b.jpg"]


LAYOUTS = {
    "webui": ("models/Stable-diffusion/a", "models/Lora/b", "models/VAE/c", "embeddings/d", "models/ControlNet/e"),
    "comfy": ("models/checkpoints/a", "models/loras/b", "models/vae/c", "models/embeddings/d", "models/controlnet/e"),
    "invoke": ("models/sdxl/main/a", "models/sdxl/lora/b", "models/any/vae/c", "models/x/d", "models/y/e"),
}


@pytest.mark.parametrize(
    ("program", "mark"), [("webui", "webui.py"), ("comfy", "nodes.py"), ("invoke", "invokeai.yaml")]
)
def test_the_folder_of_another_program_is_understood(tmp_path: Path, program: str, mark: str) -> None:
    (tmp_path / mark).touch()
    for path, shapes in zip(LAYOUTS[program], (SDXL, LORA, VAE, EMBEDDING, CONTROLNET), strict=True):
        write(tmp_path / f"{path}.safetensors", shapes)
    write(tmp_path / "extensions" / "example.safetensors", LORA)
    write(tmp_path / "models" / "upscale_models" / "x.safetensors", {"a": (2,)})
    found = catalog(tmp_path)
    assert sorted(entry.group for entry in found.entries()) == ["controlnet", "embedding", "lora", "model", "vae"]
    assert found.find("a").family == "sdxl"


def test_comfyuis_extra_model_paths_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "webui" / "models" / "Stable-diffusion" / "a.safetensors", SDXL)
    write(tmp_path / "webui" / "models" / "Lora" / "b.safetensors", LORA)
    write(tmp_path / "webui" / "models" / "LyCORIS" / "c.safetensors", LORA)
    comfy = tmp_path / "comfy"
    comfy.mkdir()
    (comfy / "extra_model_paths.yaml").write_text(
        "a111:\n  base_path: ../webui/\n  checkpoints: models/Stable-diffusion\n"
        "  loras: |\n    models/Lora\n    models/LyCORIS\nother: 3\nlist: [1]\n"
    )
    assert keys(catalog(comfy)) == {"model:a.safetensors", "lora:b", "lora:c"}


def test_fooocus_paths_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "b.safetensors", LORA)
    (tmp_path / "fooocus").mkdir()
    paths = {"path_loras": [str(tmp_path / "elsewhere")], "path_outputs": "x", "path_vae": 3}
    (tmp_path / "fooocus" / "config.txt").write_text(json.dumps(paths))
    assert keys(catalog(tmp_path / "fooocus")) == {"lora:b"}


@pytest.mark.parametrize(
    "text", ["", "[", "a: &a [*a]", "!!python/object/apply:os.system [true]", "\xff", "a: {b: *c}"]
)
def test_a_broken_list_of_paths_never_stops_the_scan(tmp_path: Path, text: str) -> None:
    write(tmp_path / "a.safetensors", LORA)
    (tmp_path / "extra_model_paths.yaml").write_bytes(text.encode("latin-1"))
    assert keys(catalog(tmp_path)) == {"lora:a"}


def test_links_in_a_circle_end_and_a_folder_reached_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.safetensors", LORA)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    (tmp_path / "a" / "dangling.safetensors").symlink_to("nowhere")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert keys(catalog(tmp_path, tmp_path / "a")) == {"lora:a/x"}


def test_names_of_any_script_and_of_no_script_at_all_are_found(tmp_path: Path) -> None:
    write(tmp_path / "墨絵 ✨.safetensors", LORA)
    broken = os.fsencode(tmp_path) + b"/\xff\xfe.safetensors"
    os.link(tmp_path / "墨絵 ✨.safetensors", broken)
    found = catalog(tmp_path)
    assert found.lora("墨絵 ✨").path.name == "墨絵 ✨.safetensors"
    for lora in found.loras():
        lora.key.encode()
        lora.title.encode()
    assert len(found.loras()) == 2


def test_the_same_name_in_two_folders_is_two_things(tmp_path: Path) -> None:
    for place in ("x", "y"):
        write(tmp_path / place / "a.safetensors", LORA)
        write(tmp_path / place / "sub" / "a.safetensors", LORA)
    found = catalog(tmp_path / "x", tmp_path / "y")
    assert {lora.key for lora in found.loras()} == {"a", "y/a", "sub/a", "y/sub/a"}
    assert found.lora("y/a").path == tmp_path / "y" / "a.safetensors"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named_and_the_others_scanned(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.safetensors", LORA)
    (tmp_path / "b").mkdir(mode=0)
    found = catalog(tmp_path)
    assert keys(found) == {"lora:a/x"}
    assert "“b” cannot be read" in found.faults()[0]


def test_parts_of_a_model_in_a_folder_are_not_taken_for_models(tmp_path: Path) -> None:
    place = tmp_path / "control"
    write(place / "diffusion_pytorch_model.safetensors", CONTROLNET)
    (place / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    write(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", FLUX)
    (tmp_path / "unet" / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    write(tmp_path / "big" / "model-00001-of-00002.safetensors", FLUX)
    found = catalog(tmp_path)
    assert keys(found) == {"controlnet:control"}
    assert found.controlnet("control").path == place
    assert found.controlnet("control").family == "sd15"


def test_a_dduf_archive_is_a_model_and_checked_to_the_header(tmp_path: Path) -> None:
    weights = write(tmp_path / "w" / "x.safetensors", {"a": (2,)}).read_bytes()
    (tmp_path / "w" / "x.safetensors").unlink()
    for name, inside in (("good", weights), ("bad", weights[:-1]), ("pickle", b"PK\x03\x04 rest")):
        with zipfile.ZipFile(tmp_path / f"{name}.dduf", "w") as archive:
            archive.writestr("model_index.json", json.dumps({"_class_name": "FluxPipeline"}))
            archive.writestr("vae/model.safetensors", inside)
    for name, entry, compression in (
        ("zipped", "a.json", zipfile.ZIP_DEFLATED),
        ("climbing", "../a.json", zipfile.ZIP_STORED),
        ("code", "unet/model.py", zipfile.ZIP_STORED),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.dduf", "w", compression) as archive:
            archive.writestr(entry, "{}")
    (tmp_path / "none.dduf").write_bytes(b"PK nonsense")
    found = catalog(tmp_path)
    assert {spec.key for spec in found.models()} == {"good.dduf"}
    assert (found.find("good").family, found.find("good").kind) == ("flux", "dduf")
    assert len(found.refused()) == 0
    refused = {entry.key: entry.refused for entry in found.entries() if entry.refused}
    assert refused.keys() == {f"{name}.dduf" for name in ("bad", "pickle", "zipped", "climbing", "code", "none")}
    assert "1 bytes at its end are missing" in refused["bad.dduf"]


def test_a_second_start_reads_no_header_that_it_knows(tmp_path: Path) -> None:
    file = write(tmp_path / "models" / "a.safetensors", LORA)
    assert keys(catalog(file.parent, data=tmp_path / "data")) == {"lora:a"}
    date = file.stat().st_mtime_ns
    file.write_bytes(bytes(file.stat().st_size))  # damaged behind its date's back
    os.utime(file, ns=(date, date))
    assert keys(catalog(file.parent, data=tmp_path / "data")) == {"lora:a"}
    os.utime(file, ns=(date, date + 1))
    assert catalog(file.parent, data=tmp_path / "data").entries()[0].refused


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes | None) -> None:
    write(tmp_path / "models" / "a.safetensors", LORA)
    found = catalog(tmp_path / "models", data=tmp_path)
    found.refresh()
    found.close()
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:5000] if damage is None else damage)
    assert keys(catalog(tmp_path / "models", data=tmp_path)) == {"lora:a"}
    assert keys(catalog(tmp_path / "models", data=tmp_path)) == {"lora:a"}


def test_a_hash_survives_a_restart_and_finds_its_model(tmp_path: Path) -> None:
    write(tmp_path / "models" / "a.safetensors", SDXL)
    first = catalog(tmp_path / "models", data=tmp_path)
    digest = first.digest(first.find("a"))
    assert len(digest) == 10
    again = catalog(tmp_path / "models", data=tmp_path)
    assert again.find(digest).digest == digest


@pytest.mark.slow
def test_ten_thousand_files_scan_within_five_seconds_once_known(tmp_path: Path) -> None:
    pattern = write(tmp_path / "pattern.safetensors", LORA, {"ss_output_name": "x" * 100}).read_bytes()
    for folder in range(100):
        place = tmp_path / "models" / "Lora" / f"{folder:03}"
        place.mkdir(parents=True)
        for number in range(100):
            (place / f"lora {number:03}.safetensors").write_bytes(pattern)
            if number % 10 == 0:
                (place / f"lora {number:03}.json").write_text('{"activation text": "a, b"}')
    before = time.perf_counter()
    first = catalog(tmp_path / "models", data=tmp_path)
    assert len(first.loras()) == 10_000
    cold = time.perf_counter() - before
    first.close()
    before = time.perf_counter()
    second = catalog(tmp_path / "models", data=tmp_path)
    assert len(second.loras()) == 10_000
    warm = time.perf_counter() - before
    before = time.perf_counter()
    second.refresh()
    again = time.perf_counter() - before
    before = time.perf_counter()
    assert not second.changed()
    look = time.perf_counter() - before
    measured = f"cold {cold:.2f} s, warm {warm:.2f} s, refresh {again:.2f} s, a look for changes {look:.4f} s"
    assert warm < 5, measured
    assert again < 5, measured
    assert look < 0.1, measured


NAMES = sorted(
    {*SDXL, *FLUX, *VAE, *LORA, *EMBEDDING, *CONTROLNET, "adapter.body.0.x", "clip_l", "clip_g", "x_embedder.weight"}
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.dictionaries(st.sampled_from(NAMES), st.lists(st.integers(0, 9), max_size=5).map(tuple), max_size=8),
    notes=st.dictionaries(
        st.sampled_from(["ss_tag_frequency", "ss_dataset_dirs", "ss_output_name", "modelspec.trigger_phrase"]),
        st.one_of(
            st.text(max_size=40), st.sampled_from(['{"a": {"b": 1}}', '{"a": {"b": "c"}}', '{"a": [1]}', "[1]", "null"])
        ),
    ),
    beside=st.one_of(
        st.binary(max_size=60), st.sampled_from([b'{"trainedWords": [1, null]}', b'{"civitai": 3}', b"[]"])
    ),
)
def test_whatever_a_files_tensors_and_notes_say_the_scan_goes_on(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], notes: dict[str, str], beside: bytes
) -> None:
    write(
        tmp_path / "a.safetensors",
        shapes,
        {name: text.encode("utf-8", "ignore").decode() for name, text in notes.items()},
    )
    (tmp_path / "a.json").write_bytes(beside)
    (entry,) = catalog(tmp_path).entries()
    assert entry.refused or entry.spec is not None
