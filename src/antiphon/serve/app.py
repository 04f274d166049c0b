"""The HTTP application: models, workers and routes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from antiphon import __version__
from antiphon.evaluate.pieces import longest_piece
from antiphon.models.policy import Policy
from antiphon.models.word_times import Aligner, word_timer
from antiphon.serve import diff, errors, pages, routes, state
from antiphon.serve.access import AccessControl
from antiphon.serve.address import Address
from antiphon.serve.front import Front
from antiphon.serve.hosts import own_names
from antiphon.serve.limits import Limits
from antiphon.serve.metrics import Metrics
from antiphon.serve.service import Service
from antiphon.serve.services import Services, accepted
from antiphon.serve.upload import Uploads
from antiphon.serve.worker import Worker


def create_app(
    models: Mapping[str, Policy],
    limits: Limits,
    address: Address | None = None,
    aliases: Mapping[str, str] | None = None,
    aligner: Aligner | None = None,
) -> FastAPI:
    """Create the application that serves `models` by name; requests without a model go to the first.

    `aliases` are further names, each with that of its model. `aligner` tells the times of words for models that do not.
    Each model has its own worker, which ends with the application, after answering all requests.
    """
    address = address or Address()
    metrics = Metrics(routes.PATHS)
    uploads = Uploads(limits)
    services = Services(
        [_service(name, policy, limits, metrics, uploads, aligner) for name, policy in models.items()], aliases or {}
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for service in services:
            await anyio.to_thread.run_sync(service.worker.stop)

    app = FastAPI(
        title="antiphon",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=errors.DECLARED,
    )
    app.state.services = services
    names = own_names(address.host, address.allow_hosts)
    app.add_middleware(AccessControl, limits=limits, metrics=metrics, api_key=address.api_key, names=names)
    if address.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=address.allow_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )
    app.add_middleware(Front, root_path=address.root_path)
    for part in (routes, diff, state, pages):
        app.include_router(part.router)
    for kind in errors.HANDLED:
        app.add_exception_handler(kind, errors.handle)
    return app


def _service(
    name: str, policy: Policy, limits: Limits, metrics: Metrics, uploads: Uploads, aligner: Aligner | None
) -> Service:
    # Probe the model before its worker takes it over.
    accepts, piece_s = accepted(policy), longest_piece(policy, limits.chunk_s)
    words = word_timer(policy, aligner) is not None
    worker = Worker(policy, aligner=aligner)
    return Service(name, policy, worker, limits, piece_s, metrics, uploads, int(time.time()), accepts, words)
