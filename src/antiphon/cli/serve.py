"""`antiphon serve`: serves models through OpenAI's HTTP API, in the foreground or background."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from antiphon.cli import options
from antiphon.cli.output import console, print_json
from antiphon.client import API_KEY
from antiphon.errors import ConfigError, MissingExtraError, RunError

if TYPE_CHECKING:
    from antiphon.serve.process import Instance

EPILOG = """\
Examples:

antiphon serve builtin:student --port 8025

antiphon serve latest --detach --served-model-name my-recognizer --served-model-name whisper-1

antiphon serve latest --beside builtin:student

antiphon serve status

antiphon serve stop --port 8025
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL|status|stop", help="A model to serve, or a command for running servers.")
    ],
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="MODEL", help="Serve another model as well."),
    ] = None,
    aligner: Annotated[
        str | None,
        typer.Option("--aligner", metavar="MODEL", help="CTC model that finds when words were said, for other models."),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Default: 8025.")] = None,
    host: Annotated[str, typer.Option("--host", help="0.0.0.0 accepts other machines; set a key then.")] = "127.0.0.1",
    served_model_name: Annotated[
        list[str] | None,
        typer.Option(
            "--served-model-name", metavar="NAME", help="Model name for clients; default: MODEL. Repeat for aliases."
        ),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", envvar=API_KEY, help="Key that clients must send.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another host name of this server, such as that of a proxy."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Web pages of this origin may use the server (CORS)."),
    ] = None,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="Path under which a proxy shows the server.")
    ] = "",
    keep_alive: Annotated[float, typer.Option(min=1, help="Seconds that an idle connection is kept.")] = 5.0,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background, with a log file.")] = False,
    max_megabytes: Annotated[float, typer.Option(min=0.01, help="Maximum size of a recording, in MiB.")] = 25.0,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Maximum length of a recording, in seconds.")] = 1800.0,
    max_requests: Annotated[int, typer.Option(min=1, help="Maximum concurrent requests; more are rejected.")] = 128,
    chunk_seconds: Annotated[
        float | None,
        typer.Option(min=1.0, help="Split longer recordings at pauses; default: the model's limit, or 30."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Request timeout, in seconds.")] = 120.0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads for the model.")] = None,
    device: options.DeviceOption = "auto",
    dtype: options.DTypeOption = "auto",
    trust_remote_code: options.TrustRemoteCode = False,
    runs: options.RunsFolder = "runs",
    as_json: options.Json = False,
) -> None:
    """Serve a model over HTTP, with a page to try it. `status` lists servers, `stop` stops them."""
    if model == "status":
        return _status(as_json)
    if model == "stop":
        return _stop(port, as_json)
    port = 8025 if port is None else port
    name, *aliases = served_model_name or [model]
    models = _by_name([(name, model), *((one, one) for one in beside or [])], aliases)
    if detach:
        how = {"--port": port, "--host": host, "--timeout": timeout, "--threads": threads}
        where = {"--aligner": aligner, "--root-path": root_path or None, "--keep-alive": keep_alive}
        lists = {
            "--served-model-name": [name, *aliases],
            "--beside": beside or [],
            "--allow-host": allow_host or [],
            "--allow-origin": allow_origin or [],
        }
        sizes = {"--max-megabytes": max_megabytes, "--max-seconds": max_seconds, "--max-requests": max_requests}
        loaded = {"--chunk-seconds": chunk_seconds, "--device": device, "--dtype": dtype, "--runs": runs}
        given = {key: value for key, value in (how | where | sizes | loaded).items() if value is not None}
        arguments = [f"{key}={value}" for key, value in given.items()]
        arguments += [f"{key}={one}" for key, values in lists.items() for one in values]
        arguments += ["--trust-remote-code"] if trust_remote_code else []
        return _detach(model, host, port, arguments, api_key, as_json)
    with _extra_required():
        from antiphon.serve.address import Address
        from antiphon.serve.limits import Limits
        from antiphon.serve.main import serve

        limits = Limits(max_megabytes, max_seconds, max_requests, answer_s=timeout, chunk_s=chunk_seconds)
        address = Address(host, port, api_key, root_path, allow_host or [], allow_origin or [], keep_alive)
        serve(
            models,
            dict.fromkeys(aliases, name),
            address,
            limits,
            aligner,
            threads,
            device,
            dtype,
            runs,
            trust_remote_code,
        )


def _by_name(models: Sequence[tuple[str, str]], aliases: Sequence[str]) -> dict[str, str]:
    """Models by name. Raises `ConfigError` if two names are the same."""
    named = dict(models)
    if len({*named, *aliases}) < len(models) + len(aliases):
        raise ConfigError("a model name is given twice; set --served-model-name to tell models apart")
    return named


@contextmanager
def _extra_required() -> Iterator[None]:
    """Turns a missing package into an error that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn", "python_multipart", "starlette", "anyio", "prometheus_client"):
            raise
        raise MissingExtraError("antiphon serve", error.name, "serve") from error


def _detach(model: str, host: str, port: int, arguments: list[str], api_key: str | None, as_json: bool) -> None:
    from antiphon.serve import process

    process.require_free(host, port)
    if api_key:
        os.environ[API_KEY] = api_key  # Not an argument: every user can read those.
    instance = process.detach([model, *arguments], port, patience=600)
    if as_json:
        print_json(_row(instance))
    else:
        console.print(f"{_names(instance)} at {instance.url} (process {instance.pid})", highlight=False)
        console.print(f"log: {process.log_path(port)}", highlight=False, soft_wrap=True)


def _status(as_json: bool) -> None:
    from antiphon.serve import process

    found = process.running()
    if as_json:
        print_json({"servers": [_row(one) | {"requests": process.requests_of(one)} for one in found]})
    elif not found:
        console.print("no server runs")
    else:
        for one in found:
            since = datetime.fromtimestamp(one.started).isoformat(" ", "seconds")
            count = process.requests_of(one)
            busy = "unhealthy, see its log" if count is None else f"open requests {count}"
            typer.echo(f"{one.url}\t{_names(one)}\tprocess {one.pid}\tsince {since}\t{busy}")


def _stop(port: int | None, as_json: bool) -> None:
    """Stop the server on `port`; without a port, the only server."""
    from antiphon.serve import process

    found = [one for one in process.running() if port in (None, one.port)]
    if not found:
        raise RunError("no server runs" + (f" on port {port}" if port else "") + "; see antiphon serve status")
    if len(found) > 1:
        ports = ", ".join(str(one.port) for one in found)
        raise ConfigError(f"{len(found)} servers run; name one with --port: {ports}")
    (instance,) = found
    if not process.stop(instance, patience=180):
        raise RunError(f"{instance.url} (process {instance.pid}) still has requests; wait, or end the process")
    if as_json:
        print_json({"stopped": _row(instance)})
    else:
        console.print(f"stopped {instance.url}", highlight=False)


def _names(instance: Instance) -> str:
    return ", ".join([instance.name, *instance.aliases, *instance.beside])


def _row(instance: Instance) -> dict[str, Any]:
    from antiphon.serve import process

    return {**asdict(instance), "url": instance.url, "log": str(process.log_path(instance.port))}
