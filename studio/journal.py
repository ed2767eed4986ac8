"""What the studio writes down about itself: one line an event, as text or JSON, without secrets."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Final

#: Whatever looks like a key, a session or a password on its way into a log.
_SECRET: Final = re.compile(
    r"((?:key|token|password|pochade_session)[\"']?\s*[=:]\s*[\"']?|bearer\s+)[^\s&;\"',}]{6,}", re.IGNORECASE
)
#: What a line may say beside its message: who and what it is about.
_ABOUT: Final = ("job", "person", "invitation", "picture", "seconds")


def redacted(text: str) -> str:
    return _SECRET.sub(r"\1…", text)


class PlainLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record) + "".join(f" {name}={value}" for name, value in _about(record)))


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "message": redacted(record.getMessage()),
            **dict(_about(record)),
        }
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def write(style: str, level: str) -> None:
    """Have everything of `level` and above written to the standard error stream; `style`: `text` or `json`."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else PlainLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("studio").setLevel(level.upper())


def _about(record: logging.LogRecord) -> list[tuple[str, object]]:
    return [(name, getattr(record, name)) for name in _ABOUT if hasattr(record, name)]
