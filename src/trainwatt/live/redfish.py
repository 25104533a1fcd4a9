"""Power of a server from its baseboard controller, by Redfish (DMTF DSP0266), at an address that the user gives."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from trainwatt.live.fetch import FetchError, fetch

_CHASSIS = "/redfish/v1/Chassis"
_TIMEOUT_S = 20.0


class Redfish:
    """Power reading of a server.

    Args:
        url: address of the controller, e.g. ``https://10.0.0.5``; or that of one resource with a power reading, if
            several servers share a chassis.
        user: name of the user; empty for none.
        password: the user's password.
        verify: False to accept any certificate, such as a controller's own.

    Raises:
        FetchError: the controller does not answer, or it reports no power.
    """

    def __init__(self, url: str, user: str = "", password: str = "", *, verify: bool = True) -> None:
        self._root, self._verify = url, verify
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"} if user else {}
        named = urlsplit(url).path.rstrip("/") not in ("", "/redfish", "/redfish/v1")
        found = dict(self._readings([url] if named else self._chassis()))
        if not found:
            raise FetchError("no resource reports the power of the server")
        # A chassis inside another one draws less.
        self._path = max(found, key=lambda path: found[path])

    def watts(self) -> float:
        """Read the present power.

        Raises:
            FetchError: the controller does not answer, or it reports no power.
        """
        watts = _watts(self._get(self._path))
        if watts is None:
            raise FetchError(f"{self._path} reports no power")
        return watts

    def _chassis(self) -> list[str]:
        members = self._get(_CHASSIS).get("Members", [])
        return [member["@odata.id"] for member in members if isinstance(member, Mapping) and "@odata.id" in member]

    def _readings(self, paths: list[str]) -> Iterator[tuple[str, float]]:
        """Yield the power of each resource, or of those that it links to."""
        for path in paths:
            resource = self._get(path)
            links = [resource.get(name) for name in ("EnvironmentMetrics", "Power")]
            linked = [str(link["@odata.id"]) for link in links if isinstance(link, Mapping) and "@odata.id" in link]
            for each in (path, *linked):
                watts = _watts(resource if each == path else self._get(each))
                if watts is not None:
                    yield each, watts

    def _get(self, path: str) -> dict[str, Any]:
        url = urljoin(self._root, path)
        # The controller names its resources itself, and must not send the password elsewhere.
        if urlsplit(url)[:2] != urlsplit(self._root)[:2]:
            raise FetchError("the controller refers to another host")
        payload = fetch(url, self._headers, _TIMEOUT_S, verify=self._verify).payload
        if not isinstance(payload, dict):
            raise FetchError(f"{path} is not a resource")
        return payload


def _watts(resource: Mapping[str, Any]) -> float | None:
    """Return the power of a resource of the schemas Power, EnvironmentMetrics or Sensor, in watts; None without one."""
    controls = resource.get("PowerControl")
    known = [control.get("PowerConsumedWatts") for control in controls] if isinstance(controls, list) else []
    power = resource.get("PowerWatts")
    known += [power.get("Reading")] if isinstance(power, Mapping) else []
    known += [resource.get("Reading")] if resource.get("ReadingUnits") == "W" else []
    return next((float(each) for each in known if isinstance(each, (int, float)) and each > 0), None)
