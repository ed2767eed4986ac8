"""Prompts for models that read sentences (T5 and other language models): what is written for CLIP, taken out."""

from __future__ import annotations

from studio import prompt_schedule, prompt_weights


def spoken(text: str, steps: int) -> tuple[str, tuple[str, ...]]:
    """`text` as a sentence, and what of it such a model cannot follow.

    Words with a weight stay without it; brackets that state none are part of the sentence. Of what changes while the
    picture is drawn stays what holds at the last of `steps`; prompts joined by `AND` become one.
    """
    lost = []
    schedule = prompt_schedule.parse(text) if "[" in text else ()
    if any(isinstance(piece, prompt_schedule.Fork) for piece in schedule):
        lost.append("words that change between steps")
        text = prompt_schedule.at(schedule, steps, steps)
    parts = prompt_weights.composed(text)
    if len(parts) > 1:
        lost.append("AND")
    text = ", ".join(part.text for part in parts)
    text, weighted, broken = prompt_weights.without(text)
    if weighted:
        lost.append("weights")
    if broken:
        lost.append("BREAK")
    return text, tuple(lost)
