"""Local server with the APIs of live carbon intensity: documented payloads, and failures of every kind."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOUR_S = 3_600


@dataclass
class GridApi:
    """State of the server.

    Attributes:
        intensity: gCO2e/kWh at a time in seconds since the Unix epoch.
        status: HTTP status of every response.
        body: body of every response, instead of the documented payload.
        headers: additional response headers.
        skew_s: seconds by which the server's clock is ahead.
        hang_s: seconds before a response is sent.
        drip: True to send a response byte by byte, without end.
        refused: parts of paths that get a 403 response.
        actual_null: True if the actual values of Great Britain are not available yet.
        url: base URL of the running server.
        asked: path and query of every request.
        tokens: ``auth-token`` of every request.
        ended: is set when the server stops.
    """

    intensity: Callable[[float], float] = lambda _: 100.0
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    skew_s: float = 0.0
    hang_s: float = 0.0
    drip: bool = False
    refused: tuple[str, ...] = ()
    actual_null: bool = False
    url: str = ""
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def payload(self, path: str) -> Any:
        """Return the payload that the API's documentation shows for a path."""
        parts, query = urlsplit(path).path.split("/"), parse_qs(urlsplit(path).query)
        hour_s = int(time.time() + self.skew_s) // HOUR_S * HOUR_S
        if "carbon-intensity" in parts:
            return self._electricity_maps(parts[-1], query["zone"][0], hour_s)
        if "intensity" in parts:
            return self._great_britain(parts, hour_s)
        return self._denmark(parts[-1], json.loads(query["filter"][0])["PriceArea"], hour_s)

    def _electricity_maps(self, what: str, zone: str, hour_s: int) -> Any:
        def record(time_s: int) -> dict[str, Any]:
            return {
                "zone": zone,
                "carbonIntensity": self.intensity(time_s),
                "datetime": _iso(time_s, ".000Z"),
                "updatedAt": _iso(hour_s, ".000Z"),
                "createdAt": _iso(hour_s, ".000Z"),
                "emissionFactorType": "lifecycle",
                "isEstimated": time_s == hour_s,
                "estimationMethod": "TIME_SLICER_AVERAGE" if time_s == hour_s else None,
            }

        if what == "latest":
            return record(hour_s)
        if what == "history":
            return {"zone": zone, "history": [record(hour_s - n * HOUR_S) for n in range(24, 0, -1)]}
        ahead = [{"carbonIntensity": self.intensity(t), "datetime": _iso(t, ".000Z")} for t in _hours(hour_s, 24)]
        return {"zone": zone, "forecast": ahead, "updatedAt": _iso(hour_s, ".000Z")}

    def _great_britain(self, parts: list[str], hour_s: int) -> Any:
        first_s, count = {"pt24h": (hour_s - 24 * HOUR_S, 48), "fw48h": (hour_s, 96)}.get(parts[-1], (hour_s, 2))
        times = [first_s + n * HOUR_S // 2 for n in range(count)]
        return {"data": [self._half_hour(time_s) for time_s in times]}

    def _half_hour(self, time_s: int) -> dict[str, Any]:
        grams = self.intensity(time_s)
        values = {"forecast": grams + 7, "actual": grams, "index": "moderate"}
        if self.actual_null:
            values["actual"] = None
        begin, end = (_iso(each)[:16] + "Z" for each in (time_s, time_s + HOUR_S // 2))
        return {"from": begin, "to": end, "intensity": values}

    def _denmark(self, dataset: str, areas: list[str], hour_s: int) -> Any:
        first_s = hour_s if dataset == "CO2EmisProg" else hour_s - 12 * HOUR_S
        times = [first_s + n * 300 for n in range(13 * 12)]
        records = [
            {
                "Minutes5UTC": _iso(time_s),
                "Minutes5DK": _iso(time_s + HOUR_S),
                "PriceArea": area,
                "CO2Emission": self.intensity(time_s) + (10 if area == "DK2" else 0),
            }
            for time_s in times
            for area in areas
        ]
        return {"total": len(records), "limit": 0, "dataset": dataset, "records": records}


@contextmanager
def serving(api: GridApi) -> Iterator[GridApi]:
    """Run the server within a ``with`` block; ``api.url`` is its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, api)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + api.skew_s, usegmt=True)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads, block_on_close = True, False

        def handle_error(self, *args: Any) -> None:
            """Ignore clients that closed the connection."""

    with Server(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            api.ended.set()
            server.shutdown()
            thread.join()


def _answer(request: BaseHTTPRequestHandler, api: GridApi) -> None:
    api.asked.append(request.path)
    api.tokens.append(request.headers.get("auth-token"))
    api.ended.wait(api.hang_s)
    status = 403 if any(part in request.path for part in api.refused) else api.status
    body = api.body if api.body is not None else json.dumps(api.payload(request.path)).encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/html" if body.startswith(b"<") else "application/json")
    for name, value in api.headers.items():
        request.send_header(name, value)
    if not api.drip:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    while api.drip and not api.ended.wait(0.02):
        request.wfile.write(b" ")
    request.wfile.write(body)


def _hours(first_s: int, count: int) -> list[int]:
    return [first_s + n * HOUR_S for n in range(count)]


def _iso(time_s: float, suffix: str = "") -> str:
    return datetime.fromtimestamp(time_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + suffix
