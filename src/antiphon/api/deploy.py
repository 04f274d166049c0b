"""A model behind HTTP, in a process of its own on this machine."""

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
"""Loading a large model takes a while."""
HOST = "127.0.0.1"


@dataclass
class DeploymentConfig:
    """What to serve.

    Args:
        model: A hub id, a folder, a run, a `Checkpoint`, or `builtin:NAME`.
        checkpoint: Weights to serve in place of the model's own: one of `list_checkpoints`, or its path.
        served_model_name: What requests call it; the model's name by default.
        port: Where it listens; a free one by default.
        options: Further options of `antiphon serve`, such as `{"threads": 2, "max_requests": 64, "dtype": "bfloat16"}`.
        trust_remote_code: Run Python code that comes with the model's weights; only if you trust its author. For a
            run's checkpoint, the run's recipe says so.

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
        """What is served: the checkpoint, or the model where there is none."""
        return os.fspath(self.model if self.checkpoint is None else self.checkpoint)

    def serve(self, wait: bool = True) -> ModelDeployment:
        """Start the server. It ends with this process, if nothing ends it before.

        Args:
            wait: Return when it is ready; else at once, and `wait_until_ready` does the waiting.

        Raises:
            RunError: It did not start; the message has the end of its log.
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
    """A model that is served; `DeploymentConfig.serve` makes it. As a context manager it stops at the block's end.

    Attributes:
        url: Where it is served; OpenAI's client wants `f"{url}/v1"`.
        deployment_config: The `DeploymentConfig` it was made from.
        log: The file with the server's log.
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
        """Wait until the model is loaded and its engine is well.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            RunError: It ended, or is not ready by then; the message has the end of its log.
        """
        if self._instance is None:
            self._instance = process.wait_for(self._server, self._port, timeout)
        self._client.call("GET", "/health", "how it is")

    def transcribe(self, audio: Any, *, language: str | None = None, prompt: str = "", temperature: float = 0.0) -> str:
        """What is said in a recording.

        Args:
            audio: A path, a data URI, encoded bytes, a pair (waveform, rate), or what `datasets` has in a column of
                audio; or a list of one of these, as a row of a `MultimodalDataset` has it.
            language: The language, as the model names it; the model finds it by default.
            prompt: Context, such as hot words, for models that take it.
            temperature: 0 for the most probable transcript.

        Raises:
            AudioError: `audio` is no recording.
            RunError: The server refused it, or is gone.
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
        """The model's answer.

        Args:
            prompt: A question, or the messages of a conversation in OpenAI's form.
            audio: A recording that the question is about, as for `transcribe`.
            max_tokens: Longest answer, in tokens.
            temperature: 0 for the most probable answer.
            **options: Further fields of a chat request, such as `top_p` or `seed`.

        Raises:
            AudioError: `audio` is no recording.
            ConfigError: `audio` is given beside a conversation, which has its recordings in its messages.
            RunError: The server refused it, or is gone.
        """
        if not isinstance(prompt, str) and audio is not None:
            raise ConfigError(
                "generate() has a conversation and audio; put the recording into its message, or ask in words"
            )
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
        """End the server once it has answered what it was asked.

        Args:
            patience: Seconds until it is ended by force.
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
