"""The models one can choose from, and what goes with them: everything in the artist's model folders, by its headers.

A file or folder that cannot be understood is refused in a sentence and never stops the scan.
"""

from __future__ import annotations

import difflib
import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from studio.catalog_choices import Choices
from studio.catalog_folder import denoiser_weights, variant, weights
from studio.catalog_index import Index
from studio.catalog_names import Names
from studio.catalog_scan import EMBEDDED, Entry, Group, Scan, scan
from studio.errors import ModelError, NotFound
from studio.hashes import SHA256, TENSORS
from studio.recognise import fits
from studio.request import ModelSpec
from studio.specs import ControlNetSpec, EmbeddingSpec, EncoderSpec, LoraSpec, PartSpec, VaeSpec

__all__ = ["EMBEDDED", "Catalog", "denoiser_weights", "variant", "weights"]

Part = TypeVar("Part", bound=PartSpec)
Spec = TypeVar("Spec", bound=PartSpec | ModelSpec)
_CALLED: Final[Mapping[type[PartSpec], str]] = {
    LoraSpec: "LoRA",
    EmbeddingSpec: "embedding",
    VaeSpec: "VAE",
    ControlNetSpec: "ControlNet",
    EncoderSpec: "text encoder",
}


class Catalog:
    """What there is to draw with. The first call scans; `refresh` scans again, and so does asking for what is new.

    `data` is the folder that keeps what scans found out and what the owner decided; without it both are forgotten.
    """

    def __init__(self, embedded: Path, folders: tuple[Path, ...] = (), data: Path | None = None) -> None:
        self._embedded = embedded
        self._folders = folders
        self._index = Index(data)
        self.choices = Choices(data)
        self._scan: Scan | None = None
        self._names: tuple[Scan | None, dict[Group, Names]] = (None, {})
        self._refreshing = threading.Lock()
        self.revision = 0

    def refresh(self) -> None:
        with self._refreshing:
            before = self._scan
            known = self._index.known() if before is None else before.found
            sha256, tensors = self._index.hashes(SHA256), self._index.hashes(TENSORS)
            found = scan(self._embedded, self._folders, known, sha256, tensors, self._digest)
            self._index.keep({path: row for path, row in found.found.items() if known.get(path) != row})
            if before is None or before.entries != found.entries:
                self.revision += 1
            self._scan = found

    def changed(self) -> bool:
        """Whether a folder or a file that was still arriving is not as the last scan saw it. Costs a look at dates."""
        seen = self._scan
        if seen is None:
            return True
        return any(_date(folder) != date for folder, date in seen.folders.items()) or any(
            _stamp(file) != stamp for file, stamp in seen.young.items()
        )

    def close(self) -> None:
        self._index.close()

    # ── Models ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def models(self) -> tuple[ModelSpec, ...]:
        """The embedded model first, the others by key."""
        return self._scanned().models

    def refused(self) -> Mapping[str | None, str]:
        """What looks like a model and cannot be used: key → the reason in one sentence."""
        return {
            entry.key: entry.refused for entry in self._scanned().entries if entry.group == "model" and entry.refused
        }

    def find(self, key: str | None) -> ModelSpec:
        """By key; or, as other programs name models, by file name, title or short hash, whatever the case.

        `None` is the default: what the owner chose, or the embedded model, or else the first one.

        Raises:
            NotFound: no such model, or none at all.
            ModelError: it is there, and cannot be used.
        """
        found = self._found(key)
        if found is None and self.changed():
            self.refresh()
            found = self._found(key)
        if found is not None:
            return found
        models = self.models()
        if not models:
            refused = self.refused()
            reason = f" {next(iter(refused.values()))}" if refused else ""
            raise NotFound(f"There is no model to draw with; start the studio with --models-dir FOLDER.{reason}")
        known = ", ".join(spec.key for spec in models[:8]) + (", …" if len(models) > 8 else "")
        raise NotFound(f"There is no model “{(key or '')[:80]}”; choose one of {known}.")

    def digest(self, spec: ModelSpec) -> str:
        """A1111's short hash: the first 10 hex digits of the SHA-256 of the denoiser's weights; "" if unreadable.

        Reads the whole file the first time (seconds for a large model); remembered until size or date change.
        """
        files = denoiser_weights(spec.path) if spec.kind == "folder" else (spec.path,)
        return self._digest(files)[:10]

    # ── What goes with them ────────────────────────────────────────────────────────────────────────────────────────

    def loras(self) -> tuple[LoraSpec, ...]:
        return self._all(LoraSpec)

    def embeddings(self) -> tuple[EmbeddingSpec, ...]:
        return self._all(EmbeddingSpec)

    def vaes(self) -> tuple[VaeSpec, ...]:
        return self._all(VaeSpec)

    def controlnets(self) -> tuple[ControlNetSpec, ...]:
        return self._all(ControlNetSpec)

    def controlnets_of(self, model: ModelSpec) -> tuple[ControlNetSpec, ...]:
        """Those made for models of its family."""
        return tuple(net for net in self.controlnets() if not net.families or fits(net.families, model.family))

    def encoders(self) -> tuple[EncoderSpec, ...]:
        return self._all(EncoderSpec)

    def lora(self, name: str) -> LoraSpec:
        """By key, relative path, file name with or without its ending, or alias, whatever the case.

        Raises:
            NotFound: there is none of that name.
            ModelError: it is there, and cannot be used.
        """
        return self._one(LoraSpec, "lora", name)

    def embedding(self, name: str) -> EmbeddingSpec:
        """Like `lora`."""
        return self._one(EmbeddingSpec, "embedding", name)

    def vae(self, name: str) -> VaeSpec:
        """Like `lora`."""
        return self._one(VaeSpec, "vae", name)

    def controlnet(self, name: str) -> ControlNetSpec:
        """Like `lora`."""
        return self._one(ControlNetSpec, "controlnet", name)

    # ── For the Models tab ─────────────────────────────────────────────────────────────────────────────────────────

    def entries(self) -> tuple[Entry, ...]:
        """All of it, of use or refused."""
        return self._scanned().entries

    def entry(self, entry: str) -> Entry:
        """Raises:
        NotFound: there is nothing of that id.
        """
        found = next((one for one in self.entries() if one.id == entry), None)
        if found is None:
            raise NotFound("This is no longer among the models; refresh the list.")
        return found

    def faults(self) -> tuple[str, ...]:
        """Sentences about folders that could not be read."""
        return self._scanned().faults

    @property
    def index(self) -> Index:
        return self._index

    # ── How ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _scanned(self) -> Scan:
        if self._scan is None:
            self.refresh()
        assert self._scan is not None
        return self._scan

    def _found(self, key: str | None) -> ModelSpec | None:
        """Raises:
        ModelError: it is there, and cannot be used.
        """
        if key is None:
            models = self.models()
            chosen = next((spec for spec in models if spec.key == self.choices.default), None)
            return chosen or next(iter(models), None)
        return self._part(ModelSpec, "model", key)

    def _all(self, kind: type[Part]) -> tuple[Part, ...]:
        return tuple(entry.spec for entry in self._scanned().entries if isinstance(entry.spec, kind))

    def _one(self, kind: type[Part], group: Group, name: str) -> Part:
        found = self._part(kind, group, name)
        if found is None and self.changed():
            self.refresh()
            found = self._part(kind, group, name)
        if found is not None:
            return found
        titles = {spec.title.casefold(): spec.title for spec in self._all(kind)}
        near = [titles[close] for close in difflib.get_close_matches(name.casefold()[:200], titles, 3)]
        advice = f"did you mean {' or '.join(near)}?" if near else "put it into a model folder, or leave it out."
        raise NotFound(f"There is no {_CALLED[kind]} “{name[:80]}”; {advice}")

    def _part(self, kind: type[Spec], group: Group, name: str) -> Spec | None:
        scan = self._scanned()
        if self._names[0] is not scan:
            self._names = (scan, {})
        names = self._names[1]
        if group not in names:
            names[group] = Names(entry for entry in scan.entries if entry.group == group)
        found = names[group].find(name)
        if found is not None and found.refused:
            raise ModelError(found.refused)
        return found.spec if found is not None and isinstance(found.spec, kind) else None

    def _digest(self, files: tuple[Path, ...]) -> str:
        """SHA-256 of the files one after the other, from memory where they have not changed."""
        try:
            stats = [file.stat() for file in files]
            size, date = sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)
            together = Path("|".join(map(str, files)))
            digest = self._index.hash(together, size, date, SHA256)
            if not digest:
                total = hashlib.sha256()
                for file in files:
                    with file.open("rb") as opened:
                        while block := opened.read(2**22):
                            total.update(block)
                digest = total.hexdigest()
                self._index.keep_hash(together, size, date, SHA256, digest)
        except OSError:
            return ""
        return digest


def _date(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns
