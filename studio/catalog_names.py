"""How things of the catalogue are called: by key, and the way other programs and people call them."""

from __future__ import annotations

from collections.abc import Iterable

from studio.catalog_index import written
from studio.catalog_scan import EMBEDDED, Entry


class Names:
    """From exact to lenient, so that a whole key always wins over somebody's alias. Of equal names the first counts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._keys: dict[str, Entry] = {}
        self._paths: dict[str, Entry] = {}
        self._files: dict[str, Entry] = {}
        self._aliases: dict[str, Entry] = {}
        for entry in entries:
            self._keys[entry.key] = entry
            for path in (entry.key, _relative(entry)):
                self._paths.setdefault(path.casefold(), entry)
            titles = (entry.place.path.name, entry.place.path.stem, entry.spec.title if entry.spec is not None else "")
            for title in titles:
                self._files.setdefault(title.casefold(), entry)
            for alias in (entry.facts.alias, "" if entry.spec is None else entry.spec.digest):
                self._aliases.setdefault(alias.casefold(), entry)

    def find(self, name: str) -> Entry | None:
        """By key, path below a model folder, file name with or without its ending, title, alias or short hash."""
        folded = name.casefold()
        ways = (self._paths, self._files, self._aliases)
        return self._keys.get(name) or (next((way[folded] for way in ways if folded in way), None) if folded else None)


def _relative(entry: Entry) -> str:
    if entry.key == EMBEDDED or entry.place.path == entry.place.root.path:
        return entry.key
    return written(entry.place.path.relative_to(entry.place.root.path)).replace("\\", "/")
