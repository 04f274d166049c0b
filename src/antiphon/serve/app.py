"""The HTTP application: a model, its engine, its routes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from antiphon import __version__
from antiphon.models.policy import Policy
from antiphon.serve import errors, routes, state
from antiphon.serve.engine import Engine
from antiphon.serve.gate import Gate
from antiphon.serve.limits import Limits
from antiphon.serve.metrics import Metrics
from antiphon.serve.service import Service, longest_piece


def create_app(policy: Policy, name: str, limits: Limits, api_key: str | None = None) -> FastAPI:
    """The application that serves `policy` as `name`. Its engine ends with it, when all is answered."""
    metrics = Metrics(routes.PATHS)
    piece_s = longest_piece(policy, limits.chunk_s)  # Before the engine has the model for itself.
    service = Service(name, policy, Engine(policy), limits, piece_s, metrics, int(time.time()))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(service.engine.stop)

    app = FastAPI(title="antiphon", version=__version__, lifespan=lifespan, redoc_url=None)
    app.state.service = service
    app.add_middleware(Gate, limits=limits, metrics=metrics, api_key=api_key)
    app.include_router(state.router)
    app.include_router(routes.router)
    for kind in errors.HANDLED:
        app.add_exception_handler(kind, errors.handle)
    return app
