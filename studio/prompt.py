"""What stands in a prompt beside its words: comments, `<lora:…>` tags, `AND`. Every function takes linear time."""

from __future__ import annotations

import re
from typing import Final

from studio.errors import BadRequest
from studio.request import LoraUse

_COMMENT: Final = re.compile(r"(?<![^\s])#[^\n]*")
#: A1111's extra networks. The name and what follows are bounded, so that no run of `<` costs more than its length.
_TAG: Final = re.compile(r"<(lora|lyco|hypernet):([^<>]{1,800})>")
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,9}\.?\d{0,18}|\.\d{1,18})")
_NAMED: Final = {"te": "text_weight", "unet": "weight", "lbw": "blocks"}
_MOST: Final = 4


def without_comments(text: str) -> str:
    """`#` at the start of a line or after a space begins a comment, which ends with its line.

    A line that was nothing else goes entirely. Other than in A1111 a `#` within a word (`C#`) is a letter, and `\\#`
    always is.
    """
    if "#" not in text:
        return text
    lines = []
    for line in text.split("\n"):
        bare = _COMMENT.sub("", line, count=1)
        if bare == line:
            lines.append(line)
        elif bare.strip():
            lines.append(bare.rstrip())
    return "\n".join(lines)


def extract_loras(text: str) -> tuple[str, tuple[LoraUse, ...]]:
    """`text` without its `<lora:…>` tags, and what they say, in their order.

    As A1111 reads them: `<lora:name>`, `<lora:name:0.8>`, `<lora:name:text encoder:denoiser>`, and by name
    `<lora:name:te=0.5:unet=0.8:lbw=1,0,1>`; `<lyco:…>` means the same.

    Raises:
        BadRequest: a tag that cannot be read, or one of a kind there is not.
    """
    if "<" not in text:
        return text, ()
    uses = tuple(_use(found[1], found[2]) for found in _TAG.finditer(text))
    return _TAG.sub("", text), uses


def lora_tag(use: LoraUse) -> str:
    """What `extract_loras` would read as `use`."""
    weight = _written(use.weight)
    both = weight if use.text_weight is None else f"{_written(use.text_weight)}:{weight}"
    blocks = f":lbw={use.blocks}" if use.blocks else ""
    return f"<lora:{use.name}:{both}{blocks}>"


def _use(kind: str, said: str) -> LoraUse:
    if kind == "hypernet":
        raise BadRequest(f"This studio knows no hypernetworks; remove <hypernet:{said[:80]}> from the prompt.")
    tag = f"<{kind}:{said[:80]}>"
    name, *rest = said.split(":")
    if not name.strip():
        raise BadRequest(f"{tag} names no LoRA; write <lora:name:0.8>.")
    plain: list[float] = []
    told: dict[str, object] = {"name": name.strip()}
    for part in rest:
        key, equals, value = part.partition("=")
        if equals and key.strip() in _NAMED:
            field = _NAMED[key.strip()]
            told[field] = value.strip() if field == "blocks" else _weight(value, tag)
        else:
            plain.append(_weight(part, tag))
    if len(plain) > 2:
        raise BadRequest(f"{tag} has more than two weights; write <lora:name:0.8>.")
    if plain:
        told.setdefault("weight", plain[-1])
        if told["weight"] != plain[0] or len(plain) == 2:
            told.setdefault("text_weight", plain[0])
    try:
        return LoraUse.model_validate(told)
    except ValueError as wrong:
        raise BadRequest(f"{tag} cannot be read: its block weights must be numbers with commas between.") from wrong


def _weight(text: str, tag: str) -> float:
    number = _NUMBER.fullmatch(text.strip())
    if number is None:
        raise BadRequest(f"“{text.strip()[:40]}” in {tag} is no weight; write a number, as in <lora:name:0.8>.")
    weight = float(number[0])
    if abs(weight) > _MOST:
        raise BadRequest(f"The weight {weight:g} in {tag} is out of range; choose one from -{_MOST} to {_MOST}.")
    return weight


def _written(weight: float) -> str:
    return str(int(weight)) if weight.is_integer() else repr(weight)
