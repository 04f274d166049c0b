"""Models, health and metrics of the server."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import PlainTextResponse

from antiphon.serve.errors import RequestError
from antiphon.serve.schemas import answers, example
from antiphon.serve.service import Service
from antiphon.serve.services import Services

router = APIRouter()


def services_of(request: Request) -> Services:
    return request.app.state.services


Served = Annotated[Services, Depends(services_of)]


@router.get("/v1/models")
async def models(services: Served) -> dict[str, Any]:
    """List the models in OpenAI's format; the first is the default."""
    return {"object": "list", "data": [_model(name, service) for name, service in services.by_name.items()]}


@router.get("/v1/models/{name:path}", openapi_extra=example("{url}/builtin:student"))
async def model(name: Annotated[str, Path(description="Its name.")], services: Served) -> dict[str, Any]:
    """Describe one model."""
    return _model(name, services.named(name))


def _model(name: str, service: Service) -> dict[str, Any]:
    about = {"object": "model", "created": service.created, "owned_by": "antiphon"}
    languages = service.policy.limits.languages
    told = {} if languages is None else {"languages": sorted(languages)}
    return {"id": name, **about, "accepts": service.accepts, "word_times": service.words, **told}


@router.get("/health")
async def health(services: Served) -> dict[str, Any]:
    """Health, and the requests being answered; 503 if a worker has stopped or makes no progress."""
    troubles = [f"{one.name}: {one.worker.trouble}" for one in services if one.worker.trouble]
    if troubles:
        raise RequestError(503, "; ".join(troubles))
    return {"status": "ok", "models": {one.name: {"requests": one.requests} for one in services}}


@router.get("/metrics", response_model=None, responses=answers("text/plain"))
async def metrics(services: Served) -> PlainTextResponse:
    """Metrics in Prometheus' text format."""
    text = services.first.metrics.text({one.name: one.worker for one in services})
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


@router.get("/token-mask")
async def token_mask(
    services: Served, model: Annotated[str | None, Query(description="A served model; default: the first.")] = None
) -> dict[str, Any]:
    """Tokens that are never generated, mainly control tokens; `blocked_first` cannot start an answer."""
    service = services.named(model)
    policy: Any = service.policy
    if not policy.token_level:
        return {"enabled": bool(policy.blocked.any()), "blocked": _listed(service, policy.blocked)}
    return {
        "enabled": bool(policy.blocked.any()),
        "vocabulary": policy.vocabulary,
        "allowed": int((~policy.blocked).sum()),
        "blocked": _listed(service, policy.blocked),
        "blocked_first": _listed(service, policy.blocked_first & ~policy.blocked),
        "stop": [_token(service, i) for i in sorted(policy.stop_ids)],
    }


def _listed(service: Service, blocked: Any) -> list[dict[str, Any]]:
    return [_token(service, i) for i in blocked.nonzero().flatten().tolist()]


def _token(service: Service, i: int) -> dict[str, Any]:
    tokenizer = service.tokenizer
    return {"id": i, "token": tokenizer.convert_ids_to_tokens(i) if tokenizer and i < len(tokenizer) else None}
