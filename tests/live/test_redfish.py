"""Power of a server by Redfish, from a local server with the resources of a controller."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from trainwatt.live.fetch import FetchError
from trainwatt.live.redfish import Redfish


class Controller(ThreadingHTTPServer):
    """Baseboard controller whose resources a test sets."""

    def __init__(self) -> None:
        self.resources: dict[str, Any] = {}
        self.authorized = ""
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Controller

    def do_GET(self) -> None:
        wanted = self.server.authorized
        resource = self.server.resources.get(self.path.rstrip("/"))
        denied = wanted and self.headers.get("Authorization") != wanted
        self.send_response(401 if denied else 404 if resource is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({} if denied else resource).encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def chassis(*names: str) -> dict[str, Any]:
    return {"/redfish/v1/Chassis": {"Members": [link(f"/redfish/v1/Chassis/{name}") for name in names]}}


def test_the_power_of_a_chassis_is_read(controller: Controller) -> None:
    controller.resources = {
        **chassis("Self"),
        "/redfish/v1/Chassis/Self": {"Power": link("/redfish/v1/Chassis/Self/Power")},
        "/redfish/v1/Chassis/Self/Power": {"PowerControl": [{"Name": "System", "PowerConsumedWatts": 5120}]},
    }
    server = Redfish(controller.url)
    assert server.watts() == 5120
    controller.resources["/redfish/v1/Chassis/Self/Power"] = {"PowerControl": [{"PowerConsumedWatts": 6200.5}]}
    assert server.watts() == 6200.5
    controller.resources["/redfish/v1/Chassis/Self/Power"] = {"PowerControl": [{"PowerConsumedWatts": None}]}
    with pytest.raises(FetchError, match="reports no power"):
        server.watts()


def test_the_server_is_the_chassis_that_draws_most(controller: Controller) -> None:
    """The GPU board of a DGX is a chassis inside the server."""
    controller.resources = chassis("HGX_Chassis_0", "DGX", "Empty") | {
        "/redfish/v1/Chassis/HGX_Chassis_0": {"EnvironmentMetrics": link("/redfish/v1/Chassis/HGX_Chassis_0/E")},
        "/redfish/v1/Chassis/HGX_Chassis_0/E": {"PowerWatts": {"Reading": 4100.0}},
        "/redfish/v1/Chassis/DGX": {"EnvironmentMetrics": link("/redfish/v1/Chassis/DGX/E")},
        "/redfish/v1/Chassis/DGX/E": {"PowerWatts": {"Reading": 6050.0}},
        "/redfish/v1/Chassis/Empty": {},
    }
    assert Redfish(controller.url).watts() == 6050


def test_one_resource_may_be_named(controller: Controller) -> None:
    sensor = "/redfish/v1/Chassis/Node3/Sensors/InputPower"
    controller.resources = {sensor: {"Reading": 812.0, "ReadingUnits": "W"}}
    assert Redfish(controller.url + sensor).watts() == 812


def test_user_and_password_are_sent(controller: Controller) -> None:
    controller.authorized = "Basic " + base64.b64encode(b"admin:secret").decode()
    controller.resources = {
        **chassis("Self"),
        "/redfish/v1/Chassis/Self": {"PowerControl": [{"PowerConsumedWatts": 300}]},
    }
    assert Redfish(controller.url, "admin", "secret").watts() == 300
    with pytest.raises(FetchError, match="HTTP 401"):
        Redfish(controller.url, "admin", "wrong")


def test_the_password_is_sent_to_no_other_host(controller: Controller) -> None:
    with Controller() as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        other.resources = {"/power": {"PowerControl": [{"PowerConsumedWatts": 300}]}}
        for url in (f"{other.url}/power", f"//127.0.0.1:{other.server_port}/power"):
            controller.resources = {"/redfish/v1/Chassis": {"Members": [link(url)]}}
            with pytest.raises(FetchError, match="another host"):
                Redfish(controller.url, "admin", "secret")
        other.shutdown()


def test_a_controller_without_power_or_without_an_answer_is_told(controller: Controller) -> None:
    controller.resources = {**chassis("Self"), "/redfish/v1/Chassis/Self": {"Name": "Self"}}
    with pytest.raises(FetchError, match="no resource reports the power"):
        Redfish(controller.url)
    with pytest.raises(FetchError):
        Redfish("http://127.0.0.1:9")
