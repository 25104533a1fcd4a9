"""HTTP request for JSON with a deadline, by the standard library only."""

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
    """A request without a usable answer.

    Args:
        why: the reason.
        retry_s: wait that the server requests, seconds; None if it requests none.
        refused: True if the server rejected the request itself, so that an early retry is useless.
    """

    def __init__(self, why: str, *, retry_s: float | None = None, refused: bool = False) -> None:
        super().__init__(why)
        self.retry_s = retry_s
        self.refused = refused


class Answer(NamedTuple):
    """Answer of a server.

    Attributes:
        payload: the decoded JSON.
        server_s: the server's clock, seconds since the Unix epoch; None if not sent.
    """

    payload: Any
    server_s: float | None


def fetch(url: str, headers: Mapping[str, str], timeout_s: float, *, verify: bool = True) -> Answer:
    """Get JSON within about ``timeout_s``; redirects are not followed, because they could leak a token.

    Args:
        url: the address.
        headers: headers of the request.
        timeout_s: time for the answer.
        verify: False to accept any certificate.

    Raises:
        FetchError: if no answer comes in time, the status is not 200, or the answer is not JSON.
    """
    # Importing these takes longer than importing the core.
    import http.client  # noqa: PLC0415
    import ssl  # noqa: PLC0415
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
            return None

    # The URL is that of a provider or the user.
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "trainwatt", **headers})  # noqa: S310
    deadline_s = time.monotonic() + timeout_s
    # Made only if needed, as reading the system's certificates takes long.
    handlers = [] if verify else [urllib.request.HTTPSHandler(context=ssl._create_unverified_context())]  # noqa: S323, SLF001
    try:
        with urllib.request.build_opener(Stay, *handlers).open(request, timeout=timeout_s) as response:
            body = _read(response, deadline_s)
            answered = response.headers
    except urllib.error.HTTPError as error:
        with error:
            refused = 400 <= error.code < 500 and error.code not in (408, 429)
            raise FetchError(f"HTTP {error.code}", retry_s=_retry_s(error.headers), refused=refused) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(str(reason) or type(error).__name__) from None
    try:
        return Answer(json.loads(body), _server_s(answered))
    except ValueError:
        raise FetchError(f"not JSON but {answered.get_content_type()}") from None


def _read(response: Any, deadline_s: float) -> bytes:
    """Read the body until the deadline; a socket timeout alone never ends a response that trickles in."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise FetchError("answer too large")
        if time.monotonic() > deadline_s:
            raise FetchError("timed out")
    return bytes(body)


def _retry_s(headers: Message) -> float | None:
    """Parse ``Retry-After``: seconds, or a date."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    date = _date_s(value)
    return None if date is None else max(0.0, date - (_server_s(headers) or time.time()))


def _server_s(headers: Message) -> float | None:
    """Parse ``Date``, plus the ``Age`` added by a proxy cache."""
    date, age = _date_s(headers.get("Date", "")), headers.get("Age", "0").strip()
    return None if date is None else date + (float(age) if age.isdigit() else 0.0)


def _date_s(text: str) -> float | None:
    import email.utils  # noqa: PLC0415

    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
