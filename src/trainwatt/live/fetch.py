"""One request for JSON, with an end to it, by the standard library alone."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from email.message import Message

_MOST_BYTES = 4_000_000
_CHUNK = 65_536


class FetchError(Exception):
    """No answer that can be used.

    Args:
        why: what happened.
        retry_s: how long the server asks to be left alone; None where it does not say.
        refused: whether asking again is of no use soon: the request itself was refused.
    """

    def __init__(self, why: str, *, retry_s: float | None = None, refused: bool = False) -> None:
        super().__init__(why)
        self.retry_s = retry_s
        self.refused = refused


class Answer(NamedTuple):
    """What came back.

    Attributes:
        payload: the decoded JSON.
        server_s: the server's clock, seconds since the Unix epoch; None where it does not tell.
    """

    payload: Any
    server_s: float | None


def fetch(url: str, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """Get JSON, within about ``timeout_s``; no redirection is followed, which could carry a token elsewhere.

    Raises:
        FetchError: no answer in time, another status than 200, or anything else than JSON.
    """
    import http.client  # noqa: PLC0415  # importing them takes longer than importing the core
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
            return None

    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "trainwatt", **headers})  # noqa: S310  # the user's own
    deadline_s = time.monotonic() + timeout_s
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=timeout_s) as response:
            body = _read(response, deadline_s)
            told = response.headers
    except urllib.error.HTTPError as error:
        with error:
            refused = 400 <= error.code < 500 and error.code not in (408, 429)
            raise FetchError(f"HTTP {error.code}", retry_s=_retry_s(error.headers), refused=refused) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(str(reason) or type(error).__name__) from None
    try:
        return Answer(json.loads(body), _server_s(told))
    except ValueError:
        raise FetchError(f"no JSON but {told.get_content_type()}") from None


def _read(response: Any, deadline_s: float) -> bytes:
    """A server that sends a byte now and then never runs into a socket's timeout."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise FetchError("an answer without end")
        if time.monotonic() > deadline_s:
            raise FetchError("timed out")
    return bytes(body)


def _retry_s(headers: Message) -> float | None:
    """``Retry-After``: seconds, or a date."""
    told = headers.get("Retry-After", "").strip()
    if told.isdigit():
        return float(told)
    date = _date_s(told)
    return None if date is None else max(0.0, date - (_server_s(headers) or time.time()))


def _server_s(headers: Message) -> float | None:
    """``Date``, with the ``Age`` that a cache on the way has added."""
    date, age = _date_s(headers.get("Date", "")), headers.get("Age", "0").strip()
    return None if date is None else date + (float(age) if age.isdigit() else 0.0)


def _date_s(text: str) -> float | None:
    import email.utils  # noqa: PLC0415  # as above

    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
