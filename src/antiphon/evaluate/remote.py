"""A model behind an OpenAI-compatible URL, evaluated through `POST /audio/transcriptions`."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
import soundfile

from antiphon.config import Config
from antiphon.errors import ConfigError, ModelError
from antiphon.evaluate.recognise import Portion, Transcript
from antiphon.tasks import asr
from antiphon.types import Example, Hertz, Prompt, Seconds

RATE: Hertz = 16000
"""Clips are sent as 16-bit WAV at this rate, whatever they are."""
TRIES = 5
PAUSE: Seconds = 0.5
"""Before the second try, and twice as long before each further one, unless the server says how long (Retry-After)."""
LONGEST_PAUSE: Seconds = 30.0
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
"""What a server may answer today and not tomorrow."""
KEY = "ANTIPHON_API_KEY"
"""The environment variable with the key that the server wants, as for `antiphon serve`."""


def is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


@dataclass(frozen=True)
class RemoteModel:
    """A `Subject` that a server holds."""

    url: str
    """With the version, such as http://127.0.0.1:8025/v1."""
    served_model: str
    side_by_side: int
    client: httpx2.Client = field(repr=False)

    @classmethod
    def connect(
        cls, url: str, served_model: str | None, side_by_side: int, timeout: Seconds, key: str | None
    ) -> RemoteModel:
        """`served_model` may be left out where the server has one only. `timeout` is that of an answer.

        Raises `ModelError` when the server does not answer, `ConfigError` when it has to be said which model is meant.
        """
        client = httpx2.Client(timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else {})
        url = url.rstrip("/")
        if served_model is None:
            listed = _call(client, "GET", f"{url}/models", "the list of its models")
            names = [str(one["id"]) for one in listed.get("data", [])]
            if len(names) != 1:
                raise ConfigError(f"{url} serves {', '.join(names) or 'no model'}; name one with --served-model")
            served_model = names[0]
        return cls(url, served_model, side_by_side, client)

    @property
    def name(self) -> str:
        return f"{self.served_model} at {self.url}"

    def setup(self, config: Config) -> dict[str, Any]:
        """Raises `ConfigError` for a task other than speech recognition."""
        if config.task != "asr":
            raise ConfigError(f"{self.url} is asked for transcripts, not for task {config.task}; leave out --task")
        return {
            "url": self.url,
            "served_model": self.served_model,
            "precision": "unknown",
            "device": "http",
            "task": config.task,
            "language": config.language,
        }

    def portions(self, examples: Sequence[Example], config: Config) -> Iterator[Portion]:
        """One portion an answer, as they come; its time is that since the answer before it."""
        with ThreadPoolExecutor(self.side_by_side) as pool:
            began = time.perf_counter()
            asked = {pool.submit(self._transcribe, example, config): example for example in examples}
            try:
                for done in as_completed(asked):
                    transcript = done.result()
                    now = time.perf_counter()
                    yield Portion([asked[done].id], [transcript], now - began)
                    began = now
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _transcribe(self, example: Example, config: Config) -> Transcript:
        if example.clip is None:
            raise ConfigError(f"example {example.id!r} has no audio, which a transcription needs")
        prompt = asr.prompt(example, example.clip.load(RATE), RATE, config.language, config.context)
        wish = {"model": self.served_model, "response_format": "json", "temperature": "0"}
        wish |= {"language": prompt.language} if prompt.language else {}
        wish |= {"prompt": prompt.context} if prompt.context else {}
        answer = _call(
            self.client,
            "POST",
            f"{self.url}/audio/transcriptions",
            f"example {example.id!r}",
            data=wish,
            files={"file": ("clip.wav", _wav(prompt), "audio/wav")},
        )
        if not isinstance(answer.get("text"), str):
            raise ModelError(f"{self.url} answered example {example.id!r} without a text: {str(answer)[:200]}")
        return Transcript(answer["text"].strip(), prompt.seconds, None, prompt.language, prompt.task)


def _call(client: httpx2.Client, method: str, url: str, what: str, **request: Any) -> dict[str, Any]:
    """The JSON object that a server answers. Raises `ModelError` once it has refused, or failed five times."""
    failure, tries, pause = "", 0, None
    while tries < TRIES:
        if tries:
            time.sleep(min(pause or PAUSE * 2 ** (tries - 1), LONGEST_PAUSE))
        tries, pause = tries + 1, None
        try:
            response = client.request(method, url, **request)
        except httpx2.HTTPError as error:
            failure = f"{type(error).__name__}: {error}"
            continue
        if response.status_code == 200:
            return _json(response, url, what)
        failure = f"status {response.status_code}: {response.text[:200].strip()}"
        if response.status_code not in TRANSIENT:
            break
        pause = _asked_for(response)
    often = "1 try" if tries == 1 else f"{tries} tries"
    raise ModelError(f"{url} did not answer {what} in {often} ({failure}); {_remedy(failure)}")


def _json(response: Any, url: str, what: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ModelError(f"{url} answered {what} with something other than a JSON object: {response.text[:200]}")
    return answer


def _asked_for(response: Any) -> Seconds | None:
    """The seconds of Retry-After; None where it has none, or a date."""
    try:
        return float(response.headers.get("retry-after", ""))
    except ValueError:
        return None


def _remedy(failure: str) -> str:
    if failure.startswith(("status 401", "status 403")):
        return f"put the server's key into the environment variable {KEY}"
    if failure.startswith("status 404"):
        return "give the URL with its version, such as http://127.0.0.1:8025/v1, and --served-model"
    return "see that it runs and takes such clips; with --output, the same command goes on from here"


def _wav(prompt: Prompt) -> bytes:
    file = io.BytesIO()
    assert prompt.waveform is not None
    # Scaled as read back: a clip that was 16-bit audio at this rate is sent bit for bit.
    samples = np.clip(np.rint(prompt.waveform * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(file, samples, prompt.rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
