"""What is served, and how it is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import PlainTextResponse

from antiphon.serve.service import Service

router = APIRouter()


def service_of(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(service_of)]


@router.get("/v1/models")
async def models(service: Served) -> dict[str, Any]:
    """The one model, in OpenAI's form."""
    return {"object": "list", "data": [_model(service)]}


@router.get("/v1/models/{name:path}")
async def model(name: str, service: Served) -> dict[str, Any]:
    service.require_model(name)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.name, "object": "model", "created": service.created, "owned_by": "antiphon"}


@router.get("/health")
async def health(service: Served) -> dict[str, Any]:
    """503 when the engine has stopped, or has work and does not go on."""
    trouble = service.engine.trouble
    if trouble is not None:
        raise HTTPException(503, trouble)
    engine = service.engine
    return {"status": "ok", "model": service.name, "waiting": engine.waiting, "running": engine.running}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: Served) -> PlainTextResponse:
    """In Prometheus' text format."""
    return PlainTextResponse(service.metrics.text(service.engine), media_type="text/plain; version=0.0.4")


@router.get("/token-mask")
async def token_mask(service: Served) -> dict[str, Any]:
    """Which tokens the model cannot say: control tokens above all. `blocked_first` cannot open an answer."""
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
