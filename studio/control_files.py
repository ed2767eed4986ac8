"""Where the weights of annotators are: in a model folder, in the cache of the hub, or still on the hub. No torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from studio import hub
from studio.annotators import Annotator, File
from studio.errors import Cancelled, ModelError, StudioError, Unreachable

#: Below a model folder.
FOLDER: Final = "annotators"
#: Done and expected bytes of a file that is being fetched; returns whether to go on.
Tell = Callable[[str, int, int], bool]


def lacking(annotator: Annotator, folders: tuple[Path, ...]) -> str:
    """A sentence about what it lacks; "" if it can be used at once."""
    absent = [name for name in annotator.packages if importlib.util.find_spec(name) is None]
    if absent:
        listed = ", ".join(absent)
        return f"{annotator.title} needs the Python packages {listed}, which are not installed here."
    files = [file for file in annotator.files if there(annotator, file, folders) is None]
    if not files:
        return ""
    return (
        f"{annotator.title} fetches {_told(files)} from {annotator.repo} when it is first used; "
        f"without a connection put {'it' if len(files) == 1 else 'them'} into {_place(folders, annotator)}."
    )


def there(annotator: Annotator, file: File, folders: tuple[Path, ...]) -> Path | None:
    """The file, if it is on this machine."""
    from huggingface_hub import try_to_load_from_cache

    name = file.name.rpartition("/")[2]
    for folder in folders:
        own = folder / FOLDER / (f"{annotator.key}/{name}" if annotator.detector == "transformers" else name)
        if own.is_file():
            return own
    cached = try_to_load_from_cache(annotator.repo, file.name)
    return Path(cached) if isinstance(cached, str) else None


def fetched(annotator: Annotator, folders: tuple[Path, ...], tell: Tell) -> tuple[Path, ...]:
    """All its files; those that are not here come from the hub, where they then stay cached.

    Raises:
        Cancelled: `tell` said so.
        ModelError: it lacks something that cannot be fetched.
    """
    if annotator.packages and (sentence := lacking(annotator, folders)):
        raise ModelError(sentence)
    return tuple(there(annotator, file, folders) or _fetch(annotator, file, folders, tell) for file in annotator.files)


def _fetch(annotator: Annotator, file: File, folders: tuple[Path, ...], tell: Tell) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    name = file.name.rpartition("/")[2]

    class Bar(tqdm):  # type: ignore[misc]
        """How huggingface_hub tells of its progress."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})
            self.had = int(settings.get("initial") or 0)
            self.whole = int(settings.get("total") or file.size)

        def update(self, n: float | None = 1) -> bool | None:
            self.had += int(n or 0)
            if not tell(name, self.had, self.whole):
                raise Cancelled("This picture was cancelled.")
            return None

    if not tell(name, 0, file.size):
        raise Cancelled("This picture was cancelled.")
    try:
        with hub.told(annotator.repo):
            try:
                return Path(hf_hub_download(annotator.repo, file.name, tqdm_class=Bar))
            except LocalEntryNotFoundError as offline:
                raise Unreachable("The hub cannot be reached.") from offline
    except Cancelled:
        raise
    except (StudioError, OSError) as reason:
        why = str(reason) if isinstance(reason, StudioError) else "It could not be stored."
        absent = [one for one in annotator.files if there(annotator, one, folders) is None]
        raise ModelError(
            f"{annotator.title} needs {_told(absent)} of {annotator.repo}: {why[:-1]}; "
            f"or put {'the file' if len(absent) == 1 else 'these files'} into {_place(folders, annotator)}."
        ) from reason


def _told(files: Sequence[File]) -> str:
    """Their names and size."""
    names = ", ".join(file.name.rpartition("/")[2] for file in files)
    return f"{names} ({sum(file.size for file in files) / 1e6:.1f} MB)"


def _place(folders: tuple[Path, ...], annotator: Annotator) -> str:
    inner = f"{FOLDER}/{annotator.key}" if annotator.detector == "transformers" else FOLDER
    return str(folders[0] / inner) if folders else f"{inner} of a folder given with --models-dir"
