"""The HTTP client, with retries for temporary failures and one error message for all others."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from antiphon.client import API_KEY
from antiphon.errors import AntiphonError, ModelError
from antiphon.types import Seconds

TRIES = 5
PAUSE: Seconds = 0.5
"""Delay before the first retry, doubled for each further one, unless the server sends Retry-After."""
LONGEST_PAUSE: Seconds = 30.0
TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
"""Status codes of temporary failures."""

_backoff = wait_exponential(multiplier=PAUSE, max=LONGEST_PAUSE)


class Client:
    """A client of the API at `url`. Thread-safe."""

    def __init__(
        self,
        url: str,
        timeout: Seconds,
        *,
        tries: int = TRIES,
        key_variable: str = API_KEY,
        name: str = "",
        remedy: str = "see that it runs",
        error: type[AntiphonError] = ModelError,
    ) -> None:
        """`timeout` limits each response; `key_variable` is the environment variable with the API key.

        Messages name the server `name` (default: its URL) and end with `remedy`; failures are raised as `error`.
        """
        self.url, self.name, self.key_variable = url.rstrip("/"), name or url.rstrip("/"), key_variable
        self._tries, self._remedy, self._error = tries, remedy, error
        key = os.environ.get(key_variable)
        self._keyed = bool(key)
        # Callers limit their concurrency.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(timeout=timeout, headers=headers, limits=limits)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, path: str, what: str, **request: Any) -> dict[str, Any]:
        """Send `request` (arguments of httpx), called `what` in messages, and return the JSON object of the response.

        Raises `error` (see the class) if the server refuses the request, or after the last retry.
        """
        retrying = Retrying(
            stop=stop_after_attempt(self._tries),
            wait=_pause,
            retry=retry_if_exception(lambda error: isinstance(error, _Failure) and error.transient),
            reraise=True,
        )
        try:
            response = retrying(self._once, method, self.url + path, request)
        except _Failure as failure:
            count = retrying.statistics["attempt_number"]
            often = "1 try" if count == 1 else f"{count} tries"
            raise self._error(
                f"{self.name} did not answer {what} in {often} ({failure}); {self._remedy_of(failure)}"
            ) from failure.__cause__
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._error(
                f"{self.name} answered {what} with something other than a JSON object: {response.text[:200]}"
            )
        return answer

    def _once(self, method: str, url: str, request: dict[str, Any]) -> httpx2.Response:
        try:
            response = self._client.request(method, url, **request)
        except httpx2.HTTPError as error:
            raise _Failure(f"{type(error).__name__}: {error}") from error
        if response.status_code != 200:
            told = f"status {response.status_code}: {_reason(response)}"
            raise _Failure(told, response.status_code, _asked_for(response.headers.get("retry-after", "")))
        return response

    def _remedy_of(self, failure: _Failure) -> str:
        if failure.status in (401, 403) and self._keyed:
            return f"the environment variable {self.key_variable} has the wrong key; set it to the server's key"
        if failure.status in (401, 403):
            return f"set the environment variable {self.key_variable} to the server's key"
        if failure.status == 404:
            return "give the URL with its version, such as http://127.0.0.1:8025/v1, and the model's name as served"
        return self._remedy


class _Failure(Exception):
    """A failed try; without a `status`, the server was unreachable or did not answer in time."""

    def __init__(self, told: str, status: int | None = None, pause: Seconds | None = None) -> None:
        super().__init__(told)
        self.status, self.pause = status, pause
        self.transient = status is None or status in TRANSIENT


def _pause(state: RetryCallState) -> Seconds:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, _Failure) and failure.pause is not None:
        return min(failure.pause, LONGEST_PAUSE)
    return _backoff(state)


def _asked_for(retry_after: str) -> Seconds | None:
    """Seconds to wait by the header Retry-After, a number or a date; None without one."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    with suppress(ValueError, TypeError):
        return max((parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _reason(response: httpx2.Response) -> str:
    """The message of an error in OpenAI's format, else the start of the response."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200].strip()
