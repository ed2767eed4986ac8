from __future__ import annotations

import io
import json
import math
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from studio import image
from studio.catalog import Catalog
from studio.errors import BadRequest, NotFound, TooLarge, UnreadablePicture
from studio.families import FAMILIES
from studio.plan import PIXEL_BUDGET, RANDOM_SEED_END, expand, resolve, sentence
from studio.presets import Presets
from studio.request import SEED_END, Defaults, GenerationRequest, ModelSpec, Picture, ResolvedRequest
from studio.samplers import AUTOMATIC, SAMPLERS, SCHEDULES
from studio.settings import PRESETS
from studio.specs import LoraSpec, VaeSpec

LIKES = Defaults(sampler="DPM++ 2M", scheduler="Karras", steps=25, guidance=6.5, width=256, height=192)


class OneModel(Catalog):
    """A catalogue that holds `mini` alone, which likes what `LIKES` says."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))

    def find(self, key: str | None) -> ModelSpec:
        if key not in (None, "mini"):
            raise NotFound(f"There is no model “{key}”.")
        return ModelSpec("mini", "Mini", Path("nowhere"), "sd15", 1, "0123456789", "Apache-2.0", LIKES)

    def lora(self, name: str) -> LoraSpec:
        families = {"xl": ("sdxl",), "who knows": ()}.get(name, ("sd15", "sd2"))
        return LoraSpec(name.casefold(), name, Path("nowhere"), families, 1, "0123456789ab")

    def vae(self, name: str) -> VaeSpec:
        return VaeSpec(name.casefold(), name, Path("nowhere"), ("sdxl",) if name == "xl" else ("sd15", "sd2"), 1, "")


SHIPPED = Presets(PRESETS)
STYLE = SHIPPED.styles()[0].name


def settled(request: GenerationRequest, presets: Presets = SHIPPED, **options: Any) -> ResolvedRequest:
    return resolve(request, catalog=OneModel(), presets=presets, **options)


def ask(**parts: object) -> GenerationRequest:
    return GenerationRequest.model_validate({"prompt": "a heron", **parts})


def photo(width: int, height: int, kind: str = "PNG", **save: Any) -> Picture:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, kind, **save)
    return Picture.from_bytes(file.getvalue(), f"image/{kind.lower()}")


def test_what_is_left_open_is_settled_as_the_model_likes_it() -> None:
    plain = settled(ask())
    assert (plain.model, plain.sampler, plain.scheduler) == ("mini", "DPM++ 2M", "Karras")
    assert (plain.steps, plain.guidance, plain.width, plain.height) == (25, 6.5, 256, 192)
    assert (plain.full_prompt, plain.full_negative) == ("a heron", "")


def test_what_the_artist_says_stays() -> None:
    parts = {"sampler": "Euler", "scheduler": "Beta", "steps": 1, "guidance": 0, "width": 64, "height": 4096, "seed": 0}
    told = settled(ask(**parts))
    assert {name: getattr(told, name) for name in parts} == parts


def test_random_seeds_are_short_enough_to_read_out_and_differ() -> None:
    seeds = {settled(ask(seed=-1)).seed for _ in range(50)}
    assert len(seeds) == 50
    assert max(seeds) < RANDOM_SEED_END
    assert settled(ask(), rng=random.Random(1)) == settled(ask(), rng=random.Random(1))


def test_styles_change_what_the_model_is_given_and_not_what_the_artist_wrote(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text('name,prompt,negative_prompt\nink,"{prompt}, ink drawing",photo\n')
    styled = settled(ask(styles=["ink"], negative="text"), Presets(tmp_path))
    assert (styled.prompt, styled.negative, styled.styles) == ("a heron", "text", ("ink",))
    assert (styled.full_prompt, styled.full_negative) == ("a heron, ink drawing", "text, photo")
    with pytest.raises(BadRequest, match="no style “oil”"):
        settled(ask(styles=["oil"]), Presets(tmp_path))


def test_every_picture_of_a_job_settles_its_wildcards_by_its_own_seed(tmp_path: Path) -> None:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "hue.txt").write_text("red\nblue <lora:ink:0.5>\ngreen\n")
    presets = Presets(tmp_path)
    job = settled(ask(prompt="a __hue__ {hat|coat} # not __this__", negative="{a|b|c}", seed=7, count=8), presets)
    assert (job.prompt, job.negative) == ("a __hue__ {hat|coat} # not __this__", "{a|b|c}")
    pictures = expand(job)
    assert len({picture.full_prompt for picture in pictures}) > 2
    assert len({picture.full_negative for picture in pictures}) > 1
    assert (job.full_prompt, job.full_negative) == (pictures[0].full_prompt, pictures[0].full_negative)
    for picture in pictures:
        assert not {"_", "{", "#", "<"} & set(picture.full_prompt)
        assert [use.name for use in picture.full_loras] == (["ink"] if "blue" in picture.full_prompt else [])
        assert settled(picture.as_request(), presets) == picture, "the seed alone decides"


def test_what_leaves_nothing_to_chance_is_stored_once() -> None:
    assert settled(ask(prompt="a {heron}", count=4)).wordings == ()
    assert settled(ask(prompt="a {heron|crane}", count=1)).wordings == ()


def test_loras_are_settled_by_their_keys_and_refused_for_another_family() -> None:
    told = settled(ask(prompt="a heron <lora:INK:0.5>", loras=[{"name": "Who Knows"}, {"name": "Wash", "weight": 0}]))
    assert [(use.name, use.weight) for use in told.full_loras] == [("who knows", 1), ("ink", 0.5)]
    assert settled(told.as_request().model_copy(update={"seed": told.seed})).full_loras == told.full_loras
    with pytest.raises(
        BadRequest, match=r"“xl” is for Stable Diffusion XL, and Mini is a model of Stable Diffusion 1\.5"
    ):
        settled(ask(prompt="a heron <lora:xl>"))
    with pytest.raises(BadRequest, match="33 LoRAs are more than the 32"):
        settled(ask(prompt="a heron <lora:ink>", loras=[{"name": "wash"}] * 32))


def test_another_vae_is_settled_by_its_key_and_refused_for_another_family() -> None:
    assert settled(ask(vae="Soft")).vae == "soft"
    assert settled(ask(vae="")).vae is None
    with pytest.raises(BadRequest, match=r"“xl” is not made for models of Stable Diffusion 1\.5 such as Mini"):
        settled(ask(vae="xl"))


def test_comments_and_lora_tags_are_no_words_for_the_model() -> None:
    told = settled(ask(prompt="# study\na heron <lora:ink:0.8:0.6> # later", loras=[{"name": "wash"}]))
    assert told.full_prompt == "a heron "
    assert [(use.name, use.weight, use.text_weight) for use in told.full_loras] == [
        ("wash", 1, None),
        ("ink", 0.6, 0.8),
    ]
    assert told.loras == ask(loras=[{"name": "wash"}]).loras
    with pytest.raises(BadRequest, match="take the <lora:…> tags out of the negative"):
        settled(ask(negative="<lora:ink:1>"))
    with pytest.raises(BadRequest, match="describe the picture"):
        settled(ask(prompt="# only a comment"))


@pytest.mark.parametrize("prompt", ["", "   \n\t", "\0"])
def test_an_empty_prompt_is_answered_kindly_unless_there_is_a_picture(prompt: str) -> None:
    with pytest.raises(BadRequest, match="describe the picture"):
        settled(ask(prompt=prompt))
    with pytest.raises(BadRequest, match="describe the picture"):
        settled(ask(prompt=prompt, styles=[STYLE]))
    assert settled(ask(prompt=prompt, init=photo(64, 64))).init is not None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_choosing_only_the_sampler_always_works(sampler: str) -> None:
    chosen = settled(ask(sampler=sampler))
    follows = "Karras" in SAMPLERS[sampler].schedules
    assert (chosen.sampler, chosen.scheduler) == (sampler, "Karras" if follows else AUTOMATIC)


def test_a_sampler_and_schedule_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadRequest, match="Euler a cannot follow the Karras schedule"):
        settled(ask(sampler="Euler a", scheduler="Karras"))
    with pytest.raises(BadRequest, match="no sampler “Magic”"):
        settled(ask(sampler="Magic"))
    with pytest.raises(NotFound):
        settled(ask(model="other"))


def test_a_model_with_a_sampler_of_its_own_refuses_others_before_anything_is_loaded() -> None:
    class Sprint(OneModel):
        def find(self, key: str | None) -> ModelSpec:
            return replace(super().find(key), family="sana-sprint", defaults=FAMILIES["sana-sprint"].defaults)

    plain = resolve(ask(), catalog=Sprint(), presets=SHIPPED)
    assert (plain.sampler, plain.scheduler) == ("Euler", AUTOMATIC)
    for other in ({"sampler": "DPM++ 2M"}, {"scheduler": "Karras"}):
        with pytest.raises(BadRequest, match=r"^This model has a sampler of its own: choose Euler with the Automatic"):
            resolve(ask(**other), catalog=Sprint(), presets=SHIPPED)


def test_one_job_cannot_ask_for_more_pixels_than_the_budget() -> None:
    assert settled(ask(width=2048, height=2048, count=16)).count == 16
    with pytest.raises(BadRequest, match="ask for 4 or fewer"):
        settled(ask(width=4096, height=4096, count=5))


@pytest.mark.parametrize(
    ("size", "given", "expected"),
    [
        ((300, 200), {}, (304, 200)),  # its own, to multiples of 8
        ((3000, 2000), {}, (544, 360)),  # four times the 256 × 192 the model was made for
        ((300, 200), {"width": 600}, (600, 400)),
        ((300, 200), {"height": 600}, (896, 600)),
        ((300, 200), {"width": 64, "height": 64}, (64, 64)),
        ((2000, 8), {"height": 512}, (4096, 512)),
        ((8, 8), {}, (64, 64)),
    ],
)
def test_a_size_left_open_follows_the_input_picture(
    size: tuple[int, int], given: dict[str, int], expected: tuple[int, int]
) -> None:
    told = settled(ask(init=photo(*size), **given))
    assert (told.width, told.height) == expected


def test_the_input_picture_becomes_a_plain_upright_png_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "A camera with a serial number"
    told = settled(ask(init=photo(40, 80, "JPEG", exif=exif)))
    assert told.init is not None
    assert told.init.root.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(told.init.data)) as clean:
        assert clean.size == (80, 40)
        assert not clean.getexif()
        assert not clean.info
    assert b"serial" not in told.init.data


def test_input_pictures_that_are_too_large_or_none_at_all_are_refused_before_decoding() -> None:
    header = struct.pack(">IIBBBBB", 13_300, 13_300, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0"
    with pytest.raises((TooLarge, UnreadablePicture)):
        settled(ask(init=Picture.from_bytes(bomb)))
    with pytest.raises(TooLarge):
        settled(ask(init=photo(64, 64)), max_pixels=64 * 63)
    with pytest.raises(UnreadablePicture):
        settled(ask(init=Picture.from_bytes(b"GIF89a" + b"\0" * 100)))


def mask(width: int, height: int, *, level: int = 255, kind: str = "PNG") -> Picture:
    """Painted in the middle."""
    picture = Image.new("L", (width, height))
    picture.paste(level, (width // 4, height // 4, width // 2, height // 2))
    file = io.BytesIO()
    picture.save(file, kind)
    return Picture.from_bytes(file.getvalue(), f"image/{kind.lower()}")


def test_what_is_left_open_about_a_picture_is_settled_by_what_is_done_with_it() -> None:
    plain = settled(ask(init=photo(100, 60)))
    assert (plain.resize, plain.strength, plain.outpaint) == ("crop", 0.6, None)
    masked = settled(ask(init=photo(100, 60), mask=mask(100, 60)))
    assert (masked.resize, masked.strength) == ("keep", 0.6)
    wider = settled(ask(init=photo(100, 60), outpaint={"left": 60}))
    assert (wider.resize, wider.strength, wider.width, wider.height) == ("keep", 0.9, 160, 64)
    assert settled(ask(init=photo(100, 60), outpaint={})).outpaint is None
    assert settled(ask(init=photo(100, 60), outpaint={"top": 8}, strength=0.3)).strength == 0.3


def test_only_the_surroundings_of_a_mask_are_drawn_at_the_size_the_model_was_made_for() -> None:
    told = settled(ask(init=photo(2000, 1500), mask=mask(2000, 1500), inpaint={"area": "masked"}))
    assert (told.width, told.height) == (256, 192)
    assert settled(ask(init=photo(300, 200), inpaint={"area": "masked"})).width == 304, "nothing is masked"


def test_a_mask_becomes_a_grey_png_and_keeps_its_levels() -> None:
    told = settled(ask(init=photo(64, 64), mask=mask(64, 64, level=90)))
    assert told.mask is not None
    with Image.open(io.BytesIO(told.mask.data)) as grey:
        assert (grey.mode, grey.format) == ("L", "PNG")
        assert grey.getextrema() == (0, 90)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"mask": mask(64, 64)}, "A mask needs a picture to lie on; add one as init."),
        ({"outpaint": {"left": 8}}, "Outpainting needs a picture to extend"),
        ({"loops": 2}, "Several rounds need a picture to start from"),
        ({"init": photo(64, 64), "mask": mask(64, 64, level=0)}, "paint what should change"),
        (
            {"init": photo(64, 64), "mask": Picture.from_bytes(image.png(Image.new("L", (64, 64), 255))),
             "inpaint": {"invert": True}},
            "inverted mask is empty",
        ),
        ({"init": photo(64, 64), "outpaint": {"left": 8}, "resize": "crop"}, "set resize to keep"),
        ({"init": photo(4000, 4000), "outpaint": dict.fromkeys(("left", "right", "top", "bottom"), 4096)},
         "12192 × 12192 pixels; choose smaller ones: 40 million"),
        ({"init": photo(64, 64), "width": 4096, "height": 4096, "loops": 8}, "choose fewer, or a smaller size"),
        ({"init": photo(200, 50), "width": 64, "height": 64, "resize": "crop", "mask": mask(200, 50)}, None),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_together_get_a_sentence(parts: dict[str, object], said: str | None) -> None:
    if said is None:
        settled(ask(**parts))
        return
    with pytest.raises(BadRequest, match=said):
        settled(ask(**parts))


def test_a_crop_that_loses_all_of_the_mask_gets_a_sentence() -> None:
    aside = Image.new("L", (400, 64))
    aside.paste(255, (0, 0, 20, 64))
    parts = {"init": photo(400, 64), "mask": Picture.from_bytes(image.png(aside)), "width": 64, "height": 64}
    with pytest.raises(BadRequest, match="choose another way to resize"):
        settled(ask(resize="crop", **parts))
    assert settled(ask(resize="fill", **parts)).mask is not None


#: Without wildcards, choices and tags: what they name need not be there.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="_{<"), max_size=60)
REQUESTS = st.builds(
    lambda **parts: GenerationRequest.model_validate({name: v for name, v in parts.items() if v is not None}),
    prompt=TEXT.map(lambda text: f"a {text}"),
    negative=TEXT,
    sampler=st.none() | st.sampled_from(sorted(SAMPLERS)),
    steps=st.none() | st.integers(1, 150),
    guidance=st.none() | st.floats(0, 50),
    width=st.none() | st.integers(8, 512).map(lambda side: side * 8),
    height=st.none() | st.integers(8, 512).map(lambda side: side * 8),
    seed=st.none() | st.integers(-1, SEED_END - 1),
    count=st.integers(1, 4),
    styles=st.sampled_from([(), (STYLE,)]),
    init=st.none() | st.sampled_from([photo(64, 96), photo(1000, 40, "JPEG"), photo(33, 33, "WEBP")]),
    strength=st.none() | st.floats(0, 1),
    resize=st.none() | st.sampled_from(["stretch", "fill", "keep"]),
    inpaint=st.none() | st.fixed_dictionaries({"area": st.sampled_from(["whole", "masked"]), "soft": st.booleans()}),
)


@given(REQUESTS, st.booleans(), st.sampled_from([None, {"left": 24}, {"top": 8, "bottom": 100}]), st.integers(1, 8))
def test_resolving_twice_changes_nothing(
    request: GenerationRequest, masked: bool, outpaint: dict[str, int] | None, loops: int
) -> None:
    if request.init is not None:
        parts = {"mask": mask(50, 70, kind="JPEG") if masked else None, "loops": loops, "count": 1}
        told = request.model_dump() | parts | ({"outpaint": outpaint, "resize": None} if outpaint else {})
        side = {"width": min(request.width or 64, 1024), "height": min(request.height or 64, 1024)}
        request = GenerationRequest.model_validate(told | side)
    once = settled(request)
    assert settled(once) == once
    assert settled(once.as_request()) == once, "the artist's side of it says all there is"
    assert ResolvedRequest.model_validate_json(once.model_dump_json()) == once
    assert once.width * once.height * once.count <= PIXEL_BUDGET


@given(REQUESTS)
def test_a_job_is_as_many_requests_of_one_picture_as_it_counts(request: GenerationRequest) -> None:
    told = settled(request)
    pictures = expand(told)
    assert [picture.seed for picture in pictures] == [(told.seed + n) % SEED_END for n in range(told.count)]
    assert {picture.count for picture in pictures} == {1}
    assert all(expand(picture) == (picture,) for picture in pictures)
    assert {picture.model_copy(update={"seed": 0}) for picture in pictures} == {
        told.model_copy(update={"seed": 0, "count": 1})
    }


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"width": 100_000}, "Width must be at most 4096, not 100000."),
        ({"width": 56}, "Width must be at least 64, not 56."),
        ({"height": 100}, "Height must be a multiple of 8, not 100."),
        ({"steps": 0}, "Steps must be at least 1, not 0."),
        ({"steps": "ten"}, "Steps must be a whole number, not “ten”."),
        ({"steps": 2.5}, "Steps must be a whole number, not 2.5."),
        ({"guidance": math.nan}, "Guidance must be a number, not nan."),
        ({"guidance": math.inf}, "Guidance must be a number, not inf."),
        ({"seed": 2**64}, "Seed must be less than 18446744073709551616, not 18446744073709551616."),
        ({"seed": -2}, "Seed must be at least 0, not -2."),
        ({"count": 17}, "Count must be at most 16, not 17."),
        ({"prompt": "x" * 20_001}, "Prompt may have at most 20000 characters."),
        ({"prompt": 5}, "Prompt must be text."),
        ({"styles": ["ink"] * 17}, "Styles may have at most 16 entries, not 17."),
        ({"magic": True}, "Magic is not a setting of this studio."),
        ({"init": "file:///etc/passwd"}, "Init must be a PNG, JPEG or WebP picture as a data URL."),
        ({"init": "data:image/png;base64,***"}, "Init is not valid base64."),
        ({"resize": "squeeze"}, "Resize must be one of stretch, crop, fill or keep, not “squeeze”."),
        ({"inpaint": {"mask_blur": 65}}, "Mask blur must be at most 64, not 65."),
        ({"inpaint": {"colour": 1}}, "Colour is not a setting of this studio."),
        ({"outpaint": {"left": -1}}, "Left must be at least 0, not -1."),
        ({"loops": 9}, "Loops must be at most 8, not 9."),
        ({"loop_decay": 0}, "Loop decay must be more than 0, not 0."),
        ({"width": 8, "height": 8}, "Width must be at least 64, not 8 (and 1 more)."),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_one_sentence(parts: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as fault:
        ask(**parts)
    assert sentence(fault.value) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
FIELDS = st.sampled_from(sorted(GenerationRequest.model_fields))


@given(st.dictionaries(FIELDS, JSON, min_size=1, max_size=4) | JSON)
def test_whatever_is_sent_gets_a_request_or_a_short_sentence(sent: object) -> None:
    try:
        GenerationRequest.model_validate_json(json.dumps(sent))
    except ValidationError as fault:
        said = sentence(fault)
        assert said.endswith(".")
        assert len(said) < 250


def test_every_schedule_type_of_the_table_can_be_resolved() -> None:
    for sampler, row in SAMPLERS.items():
        for schedule in row.schedules:
            assert settled(ask(sampler=sampler, scheduler=schedule)).scheduler == schedule
    assert set(SCHEDULES) == {schedule for row in SAMPLERS.values() for schedule in row.schedules}


def test_re_encoding_a_clean_picture_gives_the_same_bytes() -> None:
    clean = settled(ask(init=photo(64, 64))).init
    assert clean is not None
    assert image.png(image.decode(clean.data, 10_000)) == clean.data
