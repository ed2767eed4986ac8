from __future__ import annotations

import pytest

from studio.errors import BadRequest, Forbidden, ModelError, NotFound, Unreachable
from studio.hub import Hub, Reference, choose, parse
from tests import fake_hub

PIPELINE = (
    *("model_index.json", "README.md", "v1.ckpt", "v1.safetensors", "evil.py", "unet/config.json", "unet/code.py"),
    *("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"),
    *("unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.non_ema.safetensors"),
    *("text_encoder/config.json", "text_encoder/model.fp16-00001-of-00002.safetensors"),
    *("text_encoder/model.fp16-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.fp16.json"),
    *("text_encoder/model-00001-of-00001.safetensors", "text_encoder/model.safetensors.index.json"),
    *("tokenizer/tokenizer_config.json", "tokenizer/merges.txt", "tokenizer/spiece.model", "tokenizer/x.pkl"),
    *("vae/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"),
    *("onnx/model.onnx", "onnx/weights.pb", "images/a.png"),
)


def test_a_pipeline_is_taken_once_in_half_precision_and_without_anything_that_runs() -> None:
    assert set(choose(PIPELINE)) == {
        *("model_index.json", "README.md", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"),
        *("text_encoder/config.json", "text_encoder/model.fp16-00001-of-00002.safetensors"),
        *("text_encoder/model.fp16-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.fp16.json"),
        *("tokenizer/tokenizer_config.json", "tokenizer/merges.txt", "tokenizer/spiece.model"),
        *("vae/config.json", "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"),
    }


def test_a_controlnet_comes_with_its_settings_and_once() -> None:
    names = [
        "config.json",
        "README.md",
        "sketch.png",
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.safetensors",
    ]
    names += ["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model_promax.safetensors"]
    assert set(choose(names)) == {"config.json", "README.md", "diffusion_pytorch_model.fp16.safetensors"}
    assert set(choose(names[:5])) == {"config.json", "README.md", "diffusion_pytorch_model.safetensors"}


def test_one_file_is_taken_and_of_several_the_named_one() -> None:
    assert choose(["a.safetensors", "README.md", "b.ckpt"]) == ("a.safetensors",)
    assert choose(["a.safetensors", "x/b.gguf"], "x/b.gguf") == ("x/b.gguf",)
    with pytest.raises(ModelError, match=r"several files; add the name of one to it: a\.safetensors, b\.gguf"):
        choose(["a.safetensors", "b.gguf"])


@pytest.mark.parametrize(
    ("names", "file", "why"),
    [
        (["a.ckpt"], "", "pickle"),
        (["a.ckpt"], "a.ckpt", "may run programs"),
        (["README.md"], "", "no weights"),
        (["model_index.json", "unet/config.json", "unet/model.bin"], "", "unet comes as a pickle"),
        (["model_index.json", "unet/config.json"], "", r"no \.safetensors weights"),
        (["../a.safetensors", "/b.safetensors", "c:\\d.safetensors", "x/../../e.safetensors"], "", "no weights"),
    ],
)
def test_what_may_run_programs_or_leave_its_folder_is_never_chosen(names: list[str], file: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        choose(names, file)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("org/name", Reference("org/name")),
        (" https://huggingface.co/org/name/ ", Reference("org/name")),
        ("https://huggingface.co/org/name/tree/v2", Reference("org/name", "", "v2")),
        ("hf.co/org/name/blob/main/x/a.safetensors?download=true", Reference("org/name", "x/a.safetensors")),
        ("https://huggingface.co/org/name/resolve/main/a.gguf", Reference("org/name", "a.gguf")),
        ("org/name/a.safetensors", Reference("org/name", "a.safetensors")),
        ("org/name@abc", Reference("org/name", "", "abc")),
    ],
)
def test_a_model_is_named_by_its_repository_its_file_or_its_address(text: str, reference: Reference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", "name", "org/../x", "https://example.com/a/b", "org/name/../../x", "a b/c", "-x/y", "org/name@a b", "é/x"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match=r"org/name|revision"):
        parse(text)


def test_a_look_tells_size_licence_and_commit_and_downloads_nothing() -> None:
    files = {
        "model_index.json": b"{}",
        "unet/config.json": b"{}",
        "unet/a.safetensors": bytes(5000),
        "b.ckpt": bytes(9),
    }
    with fake_hub.running(org__name=files) as server:
        server.licences["org/name"] = {"license": "other", "license_name": "own-licence"}
        offer = Hub(server.endpoint, token=False).look(parse("org/name"))
        assert server.served == []
    assert (offer.size_bytes, offer.licence, offer.revision) == (5004, "own-licence", fake_hub.COMMIT)
    assert (offer.gated, offer.locked) == (False, "")
    assert [bool(file.sha256) for file in offer.files] == [False, False, True]


def test_a_gated_model_says_what_to_do_until_the_token_is_right() -> None:
    with fake_hub.running(org__name={"a.safetensors": b"x"}) as server:
        server.gated.add("org/name")
        server.token = "hf_right"
        offer = Hub(server.endpoint, token="hf_wrong").look(parse("org/name"))
        assert offer.gated
        assert "accepted: do so on its page (huggingface.co/org/name)" in offer.locked
        assert "HF_TOKEN" in offer.locked
        assert Hub(server.endpoint, token="hf_right").look(parse("org/name")).locked == ""


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("org/other", NotFound, "no model org/other, or it is private"),
        ("org/name@v9", NotFound, "no such revision"),
        ("org/name/b.safetensors", NotFound, "no file “b.safetensors”"),
    ],
)
def test_what_the_hub_does_not_have_is_told_in_a_sentence(text: str, kind: type[Exception], why: str) -> None:
    with fake_hub.running(org__name={"a.safetensors": b"x"}) as server, pytest.raises(kind, match=why):
        Hub(server.endpoint, token=False).look(parse(text))


def test_a_hub_out_of_reach_is_told_in_a_sentence() -> None:
    with fake_hub.running(), pytest.raises(Unreachable, match="cannot be reached"):
        Hub("http://127.0.0.1:9", token=False).look(parse("org/name"))


def test_downloads_that_are_switched_off_say_so() -> None:
    with pytest.raises(Unreachable, match="switched off"):  # the tests as a whole run so
        Hub("http://127.0.0.1:9", token=False).look(parse("org/name"))


def test_a_locked_file_is_told_like_a_locked_model() -> None:
    with fake_hub.running(org__name={"a.safetensors": b"x"}) as server:
        hub = Hub(server.endpoint, token=False)
        offer = hub.look(parse("org/name"))
        server.gated.add("org/name")
        with pytest.raises(Forbidden, match="HF_TOKEN"), hub.opened(offer, offer.files[0], 0):
            pass
