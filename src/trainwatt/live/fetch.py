"""HTTP request for JSON with a deadline, by the standard library only."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from trainwatt.masking import masked

if TYPE_CHECKING:
    from email.message import Message
    from urllib.request import OpenerDirector

_MOST_BYTES = 4_000_000
_CHUNK = 65_536


class FetchError(Exception):
    """A request without a usable answer.

    Args:
        why: the reason; what may be a secret in it is masked.
        retry_s: wait that the server requests, seconds; None if it requests none.
        refused: True if the server rejected the request itself, so that an early retry is useless.
    """

    def __init__(self, why: str, *, retry_s: float | None = None, refused: bool = False) -> None:
        super().__init__(masked(why))
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
    """Get JSON within ``timeout_s``; redirects are not followed, because they could leak a token.

    Args:
        url: the address, of the scheme http or https; with user and password in it, they are sent as a header.
        headers: headers of the request.
        timeout_s: time for all of it: connection, headers and body.
        verify: False to accept any certificate.

    Raises:
        FetchError: if no answer comes in time, the status is not 200, or the answer is not JSON.
    """
    # Importing these takes longer than importing the core.
    import http.client  # noqa: PLC0415
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    secrets = [*map(str, headers.values()), *secrets_of(url)]
    deadline = _Deadline(timeout_s)
    try:
        address, credentials = _without_credentials(url)
        accepted = {"Accept": "application/json", "User-Agent": "trainwatt", **credentials, **headers}
        # The scheme is checked.
        request = urllib.request.Request(address, headers=accepted)  # noqa: S310
        with deadline, _opener(deadline, verify=verify).open(request, timeout=timeout_s) as response:
            body = _read(response)
            answered = response.headers
    except urllib.error.HTTPError as error:
        with error:
            refused = 400 <= error.code < 500 and error.code not in (408, 429)
            raise FetchError(f"HTTP {error.code}", retry_s=_retry_s(error.headers), refused=refused) from None
    # A header with a line break, and an address that is none, are ValueErrors.
    except (OSError, http.client.HTTPException, ValueError) as error:
        if deadline.is_over:
            raise FetchError("timed out") from None
        reason = getattr(error, "reason", error)
        raise FetchError(masked(str(reason), secrets) or type(error).__name__) from None
    if deadline.is_over:
        raise FetchError("timed out")
    try:
        return Answer(json.loads(body), _server_s(answered))
    except (ValueError, RecursionError):
        raise FetchError(f"not JSON but {answered.get_content_type()}") from None


def secrets_of(url: str) -> Iterator[str]:
    """Yield the parts of an address that may be secrets: user, password and values of the query."""
    try:
        parts = urlsplit(url)
        yield from (unquote(each) for each in (parts.username, parts.password) if each)
        yield from (value for name, value in parse_qsl(parts.query) if name != "zone")
    except ValueError:
        # It is no address.
        return


def _without_credentials(url: str) -> tuple[str, dict[str, str]]:
    """Return the address without user and password, and the header that holds them.

    Raises:
        ValueError: if it is no address of the schemes http and https.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("the address is not of the scheme http or https")
    user_info, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    encoded = base64.b64encode(unquote(user_info).encode()).decode()
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {encoded}"}


class _Deadline:
    """Block whose connections are cut when its time is over.

    A timeout of a socket is one of each read, so that a server that sends its header byte by byte has no limit.
    """

    def __init__(self, timeout_s: float) -> None:
        self._until_s = time.monotonic() + timeout_s
        self._copies: list[socket.socket] = []
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        """Begin to wait."""
        self._timer.start()

    def __exit__(self, *error: object) -> None:
        """Wait no longer."""
        self._timer.cancel()
        for copy in self._copies:
            copy.close()

    @property
    def is_over(self) -> bool:
        """True if the time is over."""
        return time.monotonic() >= self._until_s

    def connect(
        self, address: tuple[str, int], _: object = None, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """Connect like :func:`socket.create_connection`, but all addresses of a name within the time left."""
        host, port = address
        failure: OSError = TimeoutError("timed out")
        for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            left_s = self._until_s - time.monotonic()
            if left_s <= 0:
                break
            try:
                connection = socket.create_connection((str(found[0]), port), left_s, source)
            except OSError as error:
                failure = error
                continue
            # Encryption takes over the socket, but a copy still ends the connection.
            self._copies.append(connection.dup())
            return connection
        raise failure

    def _cut(self) -> None:
        for copy in list(self._copies):
            with contextlib.suppress(OSError):
                copy.shutdown(socket.SHUT_RDWR)


def _opener(deadline: _Deadline, *, verify: bool) -> OpenerDirector:
    """Return what opens addresses of http and https, follows no redirect, and keeps the deadline."""
    import http.client  # noqa: PLC0415
    import ssl  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    class Plain(http.client.HTTPConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._create_connection = deadline.connect

    class Encrypted(http.client.HTTPSConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._create_connection = deadline.connect

    class OpenPlain(urllib.request.HTTPHandler):
        def http_open(self, request: Any) -> Any:
            return self.do_open(Plain, request)

    class OpenEncrypted(urllib.request.HTTPSHandler):
        def https_open(self, request: Any) -> Any:
            # Made only if needed, as reading the system's certificates takes long.
            context = ssl.create_default_context() if verify else ssl._create_unverified_context()  # noqa: S323, SLF001
            return self.do_open(Encrypted, request, context=context)

    opener = urllib.request.OpenerDirector()
    handlers: Iterable[urllib.request.BaseHandler] = (
        urllib.request.ProxyHandler(),
        OpenPlain(),
        OpenEncrypted(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _read(response: Any) -> bytes:
    """Read the body, up to a bound."""
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise FetchError("answer too large")
    return bytes(body)


def _retry_s(headers: Message) -> float | None:
    """Parse ``Retry-After``: seconds, or a date."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    date = _date_s(value)
    return None if date is None else max(0.0, date - (_server_s(headers) or time.time()))


def _server_s(headers: Message) -> float | None:
    """Parse ``Date``, plus the ``Age`` added by a proxy cache."""
    date, age = _date_s(headers.get("Date", "")), headers.get("Age", "0").strip()
    return None if date is None else date + (float(age) if age.isdecimal() else 0.0)


def _date_s(text: str) -> float | None:
    import email.utils  # noqa: PLC0415

    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
