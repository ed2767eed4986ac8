"""A language model that writes: loaded from a folder of safetensors files, never with programs that lie beside them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from jinja2 import TemplateError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from studio.diffusion import memory
from studio.errors import BadRequest, Cancelled, ModelError
from studio.prompt_help import UNWANTED

#: Tokens of an answer; 90 words are about 120.
_MOST: Final = 200
#: … and those without which asking makes no sense.
_LEAST: Final = 16
#: What working takes beside the weights.
_SPARE: Final = 2**28

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """`ended`: the model came to an end by itself. `goes_on`: it knows no conversation, and its text follows on the
    one that it was given."""

    text: str
    ended: bool
    goes_on: bool


class Writer:
    """Works on the CPU, where it takes no room of the models that draw.

    Raises:
        ModelError: it cannot be loaded, or not into the memory there is.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        if threads:
            torch.set_num_threads(threads)
        need = sum(file.stat().st_size for file in folder.glob("*.safetensors")) + _SPARE
        if need > (free := memory.host().free):
            raise ModelError(
                f"The language model {folder.name} takes {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are "
                "free; choose a smaller one for --prompt-help."
            )
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._words = AutoTokenizer.from_pretrained(folder, **local)
            model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="auto", **local)
        # Files of anybody's making are read here, by a library that raises what it likes.
        except Exception as error:
            log.exception("The language model %s cannot be loaded", folder)
            raise ModelError(
                f"The language model {folder.name} cannot be loaded ({type(error).__name__}); the log says more, "
                "--prompt-help takes another one."
            ) from error
        # CPUs that are quick at half precision at all are so at bfloat16.
        self._model = (model.to(torch.bfloat16) if model.dtype == torch.float16 else model).eval()

    def write(self, task: str, text: str, turn: int, stop: threading.Event, seconds: float) -> Written:
        """What it makes of `text`, for at most so many `seconds`; another thing for each `turn`.

        Raises:
            BadRequest: the text is too long for it.
            Cancelled: `stop` was set.
        """
        goes_on = not self._words.chat_template
        given = self._words(text, return_tensors="pt")["input_ids"] if goes_on else self._said(task, text)
        length = given.shape[1]
        places = getattr(self._model.config.get_text_config(), "max_position_embeddings", None) or length + _MOST
        if places < length + _LEAST:
            raise BadRequest(f"This prompt is too long for the language model: {length} of its {places} tokens.")
        ends = self._ends()
        torch.manual_seed(turn)
        with torch.inference_mode():
            made = self._model.generate(
                given,
                attention_mask=torch.ones_like(given),
                stopping_criteria=StoppingCriteriaList([_Stopped(stop)]),
                generation_config=GenerationConfig(
                    max_new_tokens=min(_MOST, places - length),
                    max_time=seconds,
                    do_sample=True,
                    num_beams=1,
                    temperature=0.7,
                    top_p=0.95,
                    eos_token_id=ends or None,
                    pad_token_id=ends[0] if ends else 0,
                ),
            )[0]
        if stop.is_set():
            raise Cancelled(UNWANTED)
        new, before = made[length:], self._plain(given[0])
        whole = self._plain(made)
        # Some tokenizers drop the space that a text begins with, which parts what follows from what was given.
        text = whole.removeprefix(before) if goes_on and whole.startswith(before) else self._plain(new)
        return Written(text, ended=bool(len(new)) and int(new[-1]) in ends, goes_on=goes_on)

    def _plain(self, tokens: torch.Tensor) -> str:
        text: str = self._words.decode(tokens, skip_special_tokens=True)
        return text

    def _said(self, task: str, text: str) -> torch.Tensor:
        """The tokens (1, N) of a conversation in which it is the model's turn."""
        spoken = [{"role": "system", "content": task}, {"role": "user", "content": text}]
        try:
            return self._conversation(spoken)
        except TemplateError:  # some know no system
            return self._conversation([{"role": "user", "content": f"{task}\n\n{text}"}])

    def _conversation(self, spoken: list[dict[str, str]]) -> torch.Tensor:
        # Models that think aloud before they answer are asked not to; the templates of others do not look at it.
        told = self._words.apply_chat_template(
            spoken, add_generation_prompt=True, return_tensors="pt", return_dict=True, enable_thinking=False
        )
        tokens: torch.Tensor = told["input_ids"]
        return tokens

    def _ends(self) -> list[int]:
        """The tokens that end a text."""
        told = self._model.generation_config.eos_token_id
        found = told if isinstance(told, list) else [told]
        return [token for token in dict.fromkeys((*found, self._words.eos_token_id)) if isinstance(token, int)]


class _Stopped(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, tokens: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        return torch.full((tokens.shape[0],), self._stop.is_set(), dtype=torch.bool)
