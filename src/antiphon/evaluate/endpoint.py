"""Requests to a server that may be busy: made again where that can help, and told in one error where it cannot."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from antiphon.errors import ModelError
from antiphon.types import Seconds

TRIES = 5
PAUSE: Seconds = 0.5
"""Before the second try, and twice as long before each further one, unless the server says how long (Retry-After)."""
LONGEST_PAUSE: Seconds = 30.0
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
"""What a server may answer today and not tomorrow."""
KEY = "ANTIPHON_API_KEY"
"""The environment variable with the key that the server wants, as for `antiphon serve`."""


class Endpoint:
    """An OpenAI-compatible API at `url`, its version included. Threads may share it."""

    def __init__(self, url: str, timeout: Seconds, key: str | None) -> None:
        """`timeout` is that of an answer; `key` is sent with every request."""
        self.url = url.rstrip("/")
        self._client = httpx2.Client(timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else {})

    def call(self, method: str, path: str, what: str, **request: Any) -> dict[str, Any]:
        """The JSON object that the server answers to `request` (arguments of httpx); `what` is its name in messages.

        Raises `ModelError` once the server has refused, or failed five times.
        """
        url, failure, tries, pause = self.url + path, "", 0, None
        while tries < TRIES:
            if tries:
                time.sleep(min(pause or PAUSE * 2 ** (tries - 1), LONGEST_PAUSE))
            tries, pause = tries + 1, None
            try:
                response = self._client.request(method, url, **request)
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
