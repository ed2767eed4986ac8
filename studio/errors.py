"""What can go wrong, in sentences an artist can act on. A failed `assert`, by contrast, is a bug of ours."""

from __future__ import annotations


class StudioError(Exception):
    """Shown on the page as it is: one sentence that says what was wrong, with which input, and what to do next."""

    #: The HTTP status a route answers with when this reaches it.
    status = 500


class BadRequest(StudioError):
    status = 422


class NotFound(StudioError):
    status = 404


class TooLarge(StudioError):
    status = 413


class UnreadablePicture(StudioError):
    status = 415


class Forbidden(StudioError):
    status = 403


class Unknown(StudioError):
    """Nobody knows who is asking; signing in helps."""

    status = 401


class TooSlow(StudioError):
    """A request that does not arrive."""

    status = 408


class TooManyRequests(StudioError):
    """More than one may have; `retry_after` seconds from now it may be different."""

    status = 429

    def __init__(self, sentence: str, retry_after: float = 5.0) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class Closing(StudioError):
    """The studio is being stopped."""

    status = 503


class ModelError(StudioError):
    """A model that cannot be read or loaded."""

    status = 422


class OutOfMemory(StudioError):
    status = 503


class EngineDied(StudioError):
    """The engine's process ended or hung while it drew this picture."""

    status = 503


class Unreachable(StudioError):
    """Another server, whose answer this needs, gives none."""

    status = 502


class DiskFull(StudioError):
    status = 507


class ReadOnly(StudioError):
    """A folder or database that can be read, not written."""

    status = 503


class Cancelled(StudioError):
    """Raised inside a generation to unwind it; the artist asked for it, so it is never shown as a fault."""

    status = 409
