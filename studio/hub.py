"""Models of the Hugging Face hub: what a download would bring, how large it is and under which licence.

Only weights that cannot run programs are ever asked for, and the small text files that go with them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from studio.errors import BadRequest, Forbidden, ModelError, NotFound, StudioError, Unreachable

if TYPE_CHECKING:
    import httpx2

#: Seconds without a byte before a connection counts as broken.
TIMEOUT: Final = 20.0
_WEIGHTS: Final = (".safetensors", ".gguf", ".dduf")
_PICKLES: Final = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_TEXT: Final = (".json", ".txt")
#: A folder of a pipeline's component holds at least one of these.
_CONFIGS: Final = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
_MOST_FILES: Final = 2000
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_NAME: Final = re.compile(r"[^/\\:\x00-\x1f]{1,200}(/[^/\\:\x00-\x1f]{1,200}){0,5}")
_VARIANT: Final = re.compile(r"[^.]+?(-\d{5}-of-\d{5})?(\.(?P<variant>[^.-]+))?(-\d{5}-of-\d{5})?\.safetensors")
_INDEX: Final = re.compile(r"[^.]+(\.(?P<early>[^.]+))?\.safetensors\.index(\.(?P<late>[^.]+))?\.json")


@dataclass(frozen=True, slots=True)
class Reference:
    """`file` is "" for a whole pipeline."""

    repo: str
    file: str = ""
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`name` is relative to the repository, `size` in bytes; `sha256` is "" for small files."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a download would bring. `revision` is an exact commit, so that a resumed download gets the same bytes.

    `locked`: a sentence for a model that asks for a licence to be accepted first, "" where the way is free.
    """

    repo: str
    file: str
    revision: str
    files: tuple[RemoteFile, ...]
    licence: str
    gated: bool
    locked: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


def parse(text: str) -> Reference:
    """`org/name`, `org/name/file.safetensors`, `org/name@revision`, or the address of a model's page or file.

    Raises:
        BadRequest: it is none of these.
    """
    path, _, revision = text.strip().partition("@")
    path = re.sub(r"^(https?://)?(www\.)?(huggingface\.co|hf\.co)/", "", path).split("?")[0].strip("/")
    page = re.fullmatch(r"([^/]+/[^/]+)/(?:tree|blob|resolve)/([^/]+)/?(.*)", path)
    if page:
        path, revision = posixpath.join(page[1], page[3]), page[2]
    repo = "/".join(path.split("/")[:2])
    file = "/".join(path.split("/")[2:])
    if not _REPO.fullmatch(repo) or ".." in text or (file and not _is_name(file)):
        raise BadRequest("This is no model of the hub; write it like org/name, or paste the address of its page.")
    if revision and not re.fullmatch(r"[\w./-]{1,100}", revision):
        raise BadRequest(f"“{revision[:80]}” is no revision; leave it out for the newest.")
    return Reference(repo, file, revision or "main")


def choose(names: Iterable[str], file: str = "") -> tuple[str, ...]:
    """The files to download: of a pipeline each component once (fp16 where it is offered), or the one file.

    Raises:
        ModelError: there is nothing that may be loaded, or more than one thing.
        NotFound: there is no such file.
    """
    there = [name for name in names if _is_name(name)]
    if file:
        if file not in there:
            raise NotFound(f"There is no file “{file[:80]}” in this repository.")
        if not file.endswith(_WEIGHTS):
            raise ModelError(f"“{file[:80]}” is no .safetensors, .gguf or .dduf file; others may run programs.")
        return (file,)
    if "model_index.json" in there:
        return _pipeline(there)
    if component := _component(there):
        return component
    weights = [name for name in there if name.endswith(_WEIGHTS)]
    if len(weights) == 1:
        return (weights[0],)
    if weights:
        few = ", ".join(weights[:6]) + (", …" if len(weights) > 6 else "")
        raise ModelError(f"This repository holds several files; add the name of one to it: {few}")
    if any(name.endswith(_PICKLES) for name in there):
        raise ModelError("This model comes as pickle files, which can run programs; look for it as .safetensors.")
    raise ModelError("This repository holds no weights that this studio can load.")


def _component(there: Sequence[str]) -> tuple[str, ...]:
    """A ControlNet or VAE by itself, in half precision where it is offered; nothing if this is none."""
    weights = [name for name in there if re.fullmatch(r"diffusion_pytorch_model[.-][^/]*\.?safetensors", name)]
    if "config.json" not in there or not weights:
        return ()
    variant = "fp16" if "fp16" in map(_variant, weights) else ""
    small = [name for name in there if name == "config.json" or name in ("README.md", "LICENSE", "LICENSE.md")]
    small += [name for name in there if "/" not in name and _index_variant(name) == variant]
    return (*small, *(name for name in weights if _variant(name) == variant))


def _pipeline(there: Sequence[str]) -> tuple[str, ...]:
    chosen = [
        name for name in there if name in ("model_index.json", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
    ]
    folders = {name.split("/")[0] for name in there if name.count("/") == 1 and name.split("/")[1] in _CONFIGS}
    weighty = False
    for folder in sorted(folders):
        inside = [name for name in there if name.count("/") == 1 and name.startswith(f"{folder}/")]
        weights = [name for name in inside if name.endswith(".safetensors")]
        offered = {_variant(name) for name in weights}
        variant = "fp16" if "fp16" in offered else ""
        picked = [name for name in weights if _variant(name) == variant]
        if not picked and any(name.endswith(_PICKLES) and "model" in name.rpartition("/")[2] for name in inside):
            raise ModelError(
                f"This model’s {folder} comes as a pickle file, which can run programs; look for it as .safetensors."
            )
        weighty = weighty or bool(picked)
        chosen += picked
        # `spiece.model` and its like are the words of a tokenizer, no program.
        chosen += [name for name in inside if name.endswith(".model") and "tokenizer" in folder]
        chosen += [name for name in inside if name.endswith(_TEXT) and _index_variant(name) in (None, variant)]
    if not weighty:
        raise ModelError("This repository holds no .safetensors weights, and others may run programs.")
    return tuple(sorted(dict.fromkeys(chosen), key=lambda name: name.endswith(_WEIGHTS)))


def _variant(name: str) -> str:
    """`fp16` of `unet/diffusion_pytorch_model.fp16.safetensors`, "" for the plain one."""
    match = _VARIANT.fullmatch(name.rpartition("/")[2])
    return "?" if match is None else match["variant"] or ""


def _index_variant(name: str) -> str | None:
    """Likewise for the list of a model's shards; None for files that are no such list."""
    match = _INDEX.fullmatch(name.rpartition("/")[2])
    return None if match is None else match["early"] or match["late"] or ""


def _is_name(name: str) -> bool:
    """A relative path that stays where it is put, on every system."""
    return bool(_NAME.fullmatch(name)) and not any(
        part in (".", "..") or part != part.strip() for part in name.split("/")
    )


class Hub:
    """`endpoint` and `token` None: as the environment or `hf auth login` have it; `token` False: without one."""

    def __init__(self, endpoint: str | None = None, token: str | bool | None = None) -> None:
        self._endpoint = endpoint
        self._token = token

    def look(self, reference: Reference) -> Offer:
        """Asks the hub; downloads nothing.

        Raises:
            NotFound, Forbidden, ModelError, Unreachable: why there is nothing to download.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint, token=self._token)
        with told(reference.repo):
            info = api.model_info(reference.repo, revision=reference.revision, files_metadata=True, timeout=TIMEOUT)
        siblings = {sibling.rfilename: sibling for sibling in (info.siblings or [])[:_MOST_FILES]}
        files = tuple(
            RemoteFile(name, siblings[name].size or 0, lfs.sha256 if (lfs := siblings[name].lfs) else "")
            for name in choose(siblings, reference.file)
        )
        card = info.card_data
        stated = (card.get("license_name") or card.get("license") or "") if card else ""
        locked = ""
        if info.gated:
            try:
                with told(reference.repo):
                    api.auth_check(reference.repo)
            except Forbidden as closed:
                locked = str(closed)
        return Offer(
            reference.repo,
            reference.file,
            info.sha or reference.revision,
            files,
            str(stated)[:80],
            bool(info.gated),
            locked,
        )

    @contextmanager
    def opened(self, offer: Offer, file: RemoteFile, begin: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of a file from `begin` on, and from where on they really are: some servers send all of it.

        Raises:
            NotFound, Forbidden, Unreachable: while opening; ConnectionError: it broke off.
        """
        import httpx2
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(offer.repo, file.name, revision=offer.revision, endpoint=self._endpoint)
        headers = build_hf_headers(token=self._token) | {"Accept-Encoding": "identity"}
        if begin:
            headers["Range"] = f"bytes={begin}-"
        try:
            with told(offer.repo):
                request = get_session().build_request("GET", url, headers=headers, timeout=TIMEOUT)
                response = get_session().send(request, stream=True, follow_redirects=True)
            try:
                with told(offer.repo):
                    hf_raise_for_status(response)
                yield (begin if response.status_code == 206 else 0), _bytes(response)
            finally:
                response.close()
        except httpx2.TransportError as broken:
            raise ConnectionError(str(broken)) from broken


def _bytes(response: httpx2.Response) -> Iterator[bytes]:
    # Without a size of its own: what has come of an incomplete block would be lost with the connection.
    yield from response.iter_bytes()


@contextmanager
def told(repo: str) -> Iterator[None]:
    """The hub's errors as sentences.

    Raises:
        NotFound, Forbidden, Unreachable: instead of huggingface_hub's own.
    """
    import httpx2
    from huggingface_hub import errors

    known: tuple[tuple[type[Exception], Callable[[str], StudioError]], ...] = (
        (errors.GatedRepoError, _gated),
        (errors.DisabledRepoError, lambda name: NotFound(f"The hub has withdrawn {name}.")),
        (errors.RevisionNotFoundError, lambda name: NotFound(f"{name} has no such revision on the hub.")),
        (
            errors.RemoteEntryNotFoundError,
            lambda name: NotFound(f"A file of {name} is no longer on the hub; look again."),
        ),
        (
            errors.RepositoryNotFoundError,
            lambda name: NotFound(f"The hub has no model {name}, or it is private; check the name, or give a token."),
        ),
        (errors.OfflineModeIsEnabled, lambda _: Unreachable("Downloads are switched off (HF_HUB_OFFLINE is set).")),
    )
    try:
        yield
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled) as error:
        for kind, sentence in known:
            if isinstance(error, kind):
                raise sentence(repo) from error
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status in (401, 403):
            raise _gated(repo) from error
        raise Unreachable(f"The hub cannot answer now (status {status}); try again later.") from error
    except (httpx2.TransportError, ConnectionError) as broken:
        raise Unreachable("The hub cannot be reached; check the connection and try again.") from broken
    except (ValueError, KeyError, TypeError) as nonsense:
        raise Unreachable("The hub’s answer makes no sense; try again later.") from nonsense


def _gated(repo: str) -> StudioError:
    return Forbidden(
        f"{repo} asks for its licence to be accepted: do so on its page (huggingface.co/{repo}), then start the studio "
        "with your token (environment variable HF_TOKEN, or `hf auth login`)."
    )
