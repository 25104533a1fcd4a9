from __future__ import annotations

from typing import Any

import pytest

from tests.export.runs import summary_at
from trainwatt.site import Site


@pytest.fixture
def summary() -> dict[str, Any]:
    return summary_at(Site(zone="FR", pue=1.2, environ={}))
