"""What machines ask: whether the studio works (`/healthz`), and its figures for Prometheus (`/metrics`)."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.people import only_owner
from studio.engine import State, Status
from studio.gallery import Gallery
from studio.jobs import Jobs
from studio.people import People
from studio.request import GenerationResult

_SECONDS: Final = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)
_ANSWERS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Figures since the start; what can be counted when asked is counted then."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._pictures = Counter("pochade_pictures", "Pictures drawn and saved.", registry=self._registry)
        self._drawing = Histogram(
            "pochade_picture_seconds", "Seconds the engine took for one.", buckets=_SECONDS, registry=self._registry
        )
        self._answers = Histogram(
            "pochade_answer_seconds",
            "Seconds until an answer of known length began.",
            ("method", "status"),
            buckets=_ANSWERS,
            registry=self._registry,
        )

    def saved(self, result: GenerationResult) -> None:
        self._pictures.inc()
        self._drawing.observe(result.seconds)

    def register(self, collector: Collector) -> None:
        self._registry.register(collector)

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def answered(self, method: str, status: int, seconds: float) -> None:
        method = method if method in ("GET", "HEAD", "POST") else "other"
        self._answers.labels(method, f"{status // 100}xx").observe(seconds)


class Timed:
    """ASGI middleware: every answer that is no stream is timed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start" and any(
                name.lower() == b"content-length" for name, _ in message.get("headers", ())
            ):
                self._metrics.answered(scope["method"], message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, noted)


class StudioFigures(Collector):
    """What the queue, the engine and the guest book say at this moment."""

    def __init__(self, jobs: Jobs, people: People, status: Callable[[], Status]) -> None:
        self._jobs = jobs
        self._people = people
        self._status = status

    def collect(self) -> Iterator[Metric]:
        running, waiting = self._jobs.queue()
        yield GaugeMetricFamily("pochade_jobs_running", "Jobs being drawn.", value=int(running is not None))
        yield GaugeMetricFamily("pochade_jobs_waiting", "Jobs that wait.", value=len(waiting))
        owners = Tally(one.ticket.owner for one in waiting)
        yield GaugeMetricFamily("pochade_people_waiting", "People with jobs that wait.", value=len(owners))
        yield GaugeMetricFamily("pochade_queue_paused", "Whether the owner paused the queue.", value=self._jobs.paused)
        yield GaugeMetricFamily("pochade_sessions", "Browsers signed in.", value=len(self._people.sessions()))
        engine = GaugeMetricFamily("pochade_engine", "State of the engine.", labels=("state",))
        for state in State:
            engine.add_metric((state.value,), float(self._status().state == state))
        yield engine


def router(
    metrics: Metrics, gallery: Gallery, status: Callable[[], Status], owner_of: Callable[[Request], str]
) -> APIRouter:
    routes = APIRouter()

    @routes.get("/healthz")
    def health() -> JSONResponse:
        """Whether it draws and keeps; not even a stranger learns more."""
        well = status().state is not State.STOPPED and gallery.health == "ok"
        return JSONResponse({"ok": well}, 200 if well else 503, {"cache-control": "no-store"})

    @routes.get("/metrics")
    def figures(request: Request) -> Response:
        only_owner(request, owner_of)
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})

    return routes
