"""Plain sentences made into prompts: by rules from the vocabulary, or by a language model that speaks OpenAI's API.
`prompt_writer` asks one on this machine.

Whoever helps only proposes; the page shows what would change, and the artist decides.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx

from studio import families
from studio.errors import BadRequest, Cancelled, StudioError
from studio.foreign_values import clean, unpacked
from studio.request import MAX_PROMPT, ModelSpec
from studio.vocabulary import Vocabulary

MAX_TEXT: Final = 4_000
UNWANTED: Final = "Nobody waits for this prompt any more."
_TIMEOUT: Final = httpx.Timeout(90, connect=10)
_MAX_ANSWER: Final = 2**20
_LORAS: Final = re.compile(r"<lora:[^<>]{1,500}>", re.IGNORECASE)
_TASK: Final = (
    "You help an artist write a prompt for an image model. Keep everything the artist says: subjects, counts, colours, "
    "places, names and words in quotation marks. Add what is left open: medium, light, composition, mood. "
    "Keep <lora:…> tags, brackets and __wildcards__ exactly as they are. "
    "Answer with the prompt alone, in English, {form}."
)
_TAGS: Final = "as one line of short phrases with commas, at most 60 words"
_SENTENCES: Final = "as two or three plain sentences, at most 90 words"


class HelpFailed(StudioError):
    """The helper is somebody else's program, and it did not help."""

    status = 502


class Helper(Protocol):
    @property
    def title(self) -> str:
        """Who helps, for the page."""

    def rewrite(self, text: str, model: ModelSpec, turn: int, stop: threading.Event | None = None) -> str:
        """Another wording of `text` for each `turn`. Once `stop` is set nobody waits for it any more.

        Raises:
            HelpFailed: nobody answered, or not with a prompt.
            Cancelled: `stop` was set.
        """

    def close(self) -> None:
        """Ends what it has started, if anything."""


class Rules:
    """Adds a word for every side of the picture that the prompt leaves open. The same text and turn give the same."""

    title = "the vocabulary"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def rewrite(self, text: str, model: ModelSpec, turn: int, stop: threading.Event | None = None) -> str:
        chance = random.Random(f"{text}\n{turn}")
        added = [
            words[int(chance.random() * len(words))]
            for words in self._vocabulary.helping(model.key, model.family)
            if not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in words)
        ]
        return ", ".join([text.rstrip(" ,."), *added]) if added else text

    def close(self) -> None:
        """Nothing was started."""


class Endpoint:
    """A language model that speaks OpenAI's chat completions, as those of most servers on one's own machine do too."""

    def __init__(self, url: str, model: str, key: str = "", transport: httpx.BaseTransport | None = None) -> None:
        self.title = model or "a language model"
        self._model = model
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._transport = transport

    def rewrite(self, text: str, model: ModelSpec, turn: int, stop: threading.Event | None = None) -> str:
        asked = {
            "messages": [
                {"role": "system", "content": task(model)},
                {"role": "user", "content": text},
            ],
            "max_tokens": 600,
            "temperature": 0.7,
            "seed": turn,
            **({"model": self._model} if self._model else {}),
        }
        return with_loras(_prompt_in(self._ask(asked, stop)), text)

    def close(self) -> None:
        """What was started is somebody else's."""

    def _ask(self, asked: Mapping[str, object], stop: threading.Event | None) -> Any:
        try:
            with (
                httpx.Client(timeout=_TIMEOUT, headers=self._headers, transport=self._transport) as client,
                client.stream("POST", self._url, json=asked) as answer,
            ):
                told = b""
                for part in answer.iter_bytes():
                    if stop is not None and stop.is_set():
                        raise Cancelled(UNWANTED)
                    told += part
                    if len(told) > _MAX_ANSWER:
                        raise HelpFailed("The language model answered with more than a prompt can hold.")
                if answer.status_code != 200:
                    raise HelpFailed(f"The language model refused ({answer.status_code}); look at --prompt-help.")
        except (httpx.HTTPError, httpx.InvalidURL) as silent:
            raise HelpFailed("The language model does not answer; is it running? Look at --prompt-help.") from silent
        return unpacked(told.decode("utf-8", "replace"))


def _prompt_in(told: Any) -> str:
    """The prompt in an answer, without what models like to put around it; "" if there is none."""
    try:
        content = told["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return taken(content) if isinstance(content, str) else ""


def task(model: ModelSpec) -> str:
    """What a language model is told to do for prompts of `model`."""
    clip = families.known(model.family).denoiser.startswith("UNet")
    return _TASK.format(form=_TAGS if clip else _SENTENCES)


def taken(answer: str) -> str:
    """The prompt in what a language model says, without what it thought before and puts around it."""
    spoken = answer.rpartition("</think>")[2].partition("<think>")[0]
    line = clean(spoken, MAX_PROMPT).strip().removeprefix("Prompt:").strip()
    return line[1:-1].strip() if len(line) > 1 and line[0] == line[-1] == '"' else line


def without_loras(text: str) -> str:
    """Raises:
    BadRequest: nothing else is there.
    """
    return checked(" ".join(_LORAS.sub("", text).split()))


def with_loras(found: str, text: str) -> str:
    """A prompt that was found, with the tags of `text` that it lost.

    Raises:
        HelpFailed: it is empty.
    """
    if not found:
        raise HelpFailed("The language model gave no prompt back; try once more, or write on without it.")
    return " ".join([found, *(tag for tag in _LORAS.findall(text) if tag not in found)])


def checked(text: str) -> str:
    """Raises:
    BadRequest: nothing to help with, or too much.
    """
    if not text.strip():
        raise BadRequest("There is nothing to help with yet; write a few words first.")
    if len(text) > MAX_TEXT:
        raise BadRequest(f"Prompt help reads at most {MAX_TEXT} characters; this text has {len(text)}.")
    return text
