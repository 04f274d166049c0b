"""Deployments: a model served over HTTP by a separate process on this machine."""

from __future__ import annotations

import atexit
import importlib.util
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from antiphon.api.recordings import encoded, ending
from antiphon.client.http import Client
from antiphon.client.messages import user_message
from antiphon.client.port import free_port
from antiphon.errors import ConfigError, MissingExtraError, RunError
from antiphon.serve import process
from antiphon.serve.process import Instance
from antiphon.types import Seconds

READY: Seconds = 600.0
"""Long enough to load a large model."""
HOST = "127.0.0.1"


@dataclass
class DeploymentConfig:
    """A model to serve.

    Args:
        model: A hub id, a folder, a run, a `Checkpoint`, or `builtin:NAME`.
        checkpoint: Weights to use in place of the model's own: one of `list_checkpoints`, or its path.
        served_model_name: Model name in requests; default: the model's name.
        port: Port to listen on; default: a free one.
        options: Further options of `antiphon serve`, such as `{"threads": 2, "max_requests": 64, "dtype": "bfloat16"}`.
        trust_remote_code: Run the Python code in the model's repository; only if you trust its author. For a run's
            checkpoint, the run's recipe decides.

    Example:
        ```python
        with DeploymentConfig(model="builtin:student", checkpoint=list_checkpoints(run_id)[-1]).serve() as deployment:
            print(deployment.url, deployment.transcribe("clip.wav"))
        ```
    """

    model: str | os.PathLike[str]
    checkpoint: str | os.PathLike[str] | None = None
    served_model_name: str = ""
    port: int | None = None
    options: Mapping[str, Any] | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        self.served_model_name = self.served_model_name or os.fspath(self.model)

    @property
    def weights(self) -> str:
        """The weights to serve: the checkpoint if there is one, else the model."""
        return os.fspath(self.model if self.checkpoint is None else self.checkpoint)

    def serve(self, wait: bool = True) -> ModelDeployment:
        """Start the server. It stops when this process ends, at the latest.

        Args:
            wait: Return when the server is ready. If False, return at once; call `wait_until_ready` later.

        Raises:
            RunError: The server did not start; the message has the end of its log.
            MissingExtraError: The packages of the extra `serve` are not installed.
        """
        _require_extra()
        port = self.port or free_port(HOST)
        named = {"port": port, "host": HOST, "served-model-name": self.served_model_name, **(self.options or {})}
        arguments = [f"--{key.replace('_', '-')}={value}" for key, value in named.items()]
        arguments += ["--trust-remote-code"] if self.trust_remote_code else []
        deployment = ModelDeployment(self, process.start([self.weights, *arguments], port), port)
        if wait:
            deployment.wait_until_ready()
        return deployment


class ModelDeployment:
    """A served model, returned by `DeploymentConfig.serve`. As a context manager, it stops at the end of the block.

    Attributes:
        url: The server's URL; for OpenAI's client, use `f"{url}/v1"`.
        deployment_config: The `DeploymentConfig` that started it.
        log: Path of the server's log.
    """

    def __init__(self, config: DeploymentConfig, server: subprocess.Popen[bytes], port: int) -> None:
        self.deployment_config, self.url, self.log = config, f"http://{HOST}:{port}", process.log_path(port)
        self._server, self._port = server, port
        self._instance: Instance | None = None
        remedy = f"its log is {self.log}"
        self._client = Client(self.url, 180, tries=3, name=repr(self), remedy=remedy, error=RunError)
        atexit.register(self.stop)

    def __enter__(self) -> ModelDeployment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"ModelDeployment({self.deployment_config.served_model_name!r} at {self.url})"

    def wait_until_ready(self, timeout: Seconds = READY) -> None:
        """Wait until the model is loaded and healthy.

        Args:
            timeout: Maximum seconds to wait.

        Raises:
            RunError: The server exited or is not ready in time; the message has the end of its log.
        """
        if self._instance is None:
            self._instance = process.wait_for(self._server, self._port, timeout)
        self._client.call("GET", "/health", "how it is")

    def transcribe(self, audio: Any, *, language: str | None = None, prompt: str = "", temperature: float = 0.0) -> str:
        """Transcribe a recording.

        Args:
            audio: A path, a data URI, encoded bytes, a pair (waveform, rate), or a value of an audio column of
                `datasets`; or a list of one of these, as in rows of a `MultimodalDataset`.
            language: The language, as the model names it; default: detected by the model.
            prompt: Context, such as hotwords, for models that support it.
            temperature: Sampling temperature; 0 is greedy.

        Raises:
            AudioError: `audio` is not a recording.
            RunError: The server refused the request or did not answer.
        """
        content = encoded(audio)
        form = {"model": self.deployment_config.served_model_name, "prompt": prompt, "temperature": str(temperature)}
        if language is not None:
            form["language"] = language
        file = (f"clip{ending(content)}", content)
        return self._post("/v1/audio/transcriptions", "a recording", data=form, files={"file": file})["text"]

    def generate(
        self,
        prompt: str | Sequence[Mapping[str, Any]] = "",
        *,
        audio: Any = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        **options: Any,
    ) -> str:
        """Generate an answer.

        Args:
            prompt: A question, or the messages of a conversation in OpenAI's form.
            audio: A recording to ask about, as for `transcribe`.
            max_tokens: Maximum answer length, in tokens.
            temperature: Sampling temperature; 0 is greedy.
            **options: Other fields of a chat request, such as `top_p` or `seed`.

        Raises:
            AudioError: `audio` is not a recording.
            ConfigError: `audio` is given with a conversation; put recordings into its messages.
            RunError: The server refused the request or did not answer.
        """
        if not isinstance(prompt, str) and audio is not None:
            raise ConfigError("generate() got a conversation and audio; put the recording into a message, or pass text")
        if isinstance(prompt, str):
            clip = None if audio is None else encoded(audio)
            messages = [user_message(prompt, clip, ending(clip or b"").removeprefix("."))]
        else:
            messages = [dict(one) for one in prompt]
        body = {
            "model": self.deployment_config.served_model_name,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            **options,
        }
        return self._post("/v1/chat/completions", "a chat", json=body)["choices"][0]["message"]["content"]

    def stop(self, patience: Seconds = 60.0) -> None:
        """Stop the server after it has answered all requests.

        Args:
            patience: Seconds before it is killed.
        """
        atexit.unregister(self.stop)
        self._client.close()
        if self._server.poll() is None:
            self._server.terminate()
        try:
            self._server.wait(patience)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()

    def _post(self, path: str, what: str, **content: Any) -> dict[str, Any]:
        if self._instance is None:
            self.wait_until_ready()
        return self._client.call("POST", path, what, **content)


def _require_extra() -> None:
    for package in ("fastapi", "uvicorn", "multipart", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("serving a model", package, "serve")
