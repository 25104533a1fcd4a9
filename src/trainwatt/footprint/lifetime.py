"""Energy of training and using a model, over its life."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.units import J_PER_KWH, kwh_from_j


@dataclass(frozen=True)
class Lifetime:
    """Energy of training and using a model.

    Attributes:
        training_kwh: energy of the training.
        request_j: energy of a request.
        break_even_requests: number of requests after which use has taken as much energy as training.
        expected_requests: expected number of requests; None if unknown.
        use_kwh: energy of the expected requests.
        training_share: training's part of the total energy, 0 to 1.
    """

    training_kwh: float
    request_j: float
    break_even_requests: float
    expected_requests: float | None = None
    use_kwh: float | None = None
    training_share: float | None = None

    def text(self) -> str:
        """Return one or two sentences that describe it."""
        break_even = (
            f"Training took {self.training_kwh:.3g} kWh, a request takes {self.request_j:.3g} J: after "
            f"{self.break_even_requests:.2g} requests, use has taken as much energy as training."
        )
        if self.expected_requests is None:
            return break_even
        return (
            f"{break_even} {self.expected_requests:.2g} requests take {self.use_kwh:.3g} kWh; training is "
            f"{self.training_share:.0%} of the total energy."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return asdict(self)


def lifetime(training_kwh: float, request_j: float, expected_requests: float | None = None) -> Lifetime:
    """Return the number of requests after which use has taken as much energy as training: ``training / request``.

    Args:
        training_kwh: energy of the training, including all experiments on the way if known.
        request_j: energy of a request, joules.
        expected_requests: expected number of requests in the model's life.

    Raises:
        ArgumentError: if an energy is negative or infinite, the energy of a request is 0, or the number of requests is
            negative.
    """
    if not 0 <= training_kwh < math.inf:
        raise ArgumentError("training_kwh", training_kwh, "at least 0 kWh")
    if not 0 < request_j < math.inf:
        raise ArgumentError("request_j", request_j, "a number of joules above 0")
    break_even = training_kwh * J_PER_KWH / request_j
    if expected_requests is None:
        return Lifetime(training_kwh, request_j, break_even)
    if not 0 <= expected_requests < math.inf:
        raise ArgumentError("expected_requests", expected_requests, "a number of requests, at least 0")
    use_kwh = kwh_from_j(expected_requests * request_j)
    whole_kwh = training_kwh + use_kwh
    share = training_kwh / whole_kwh if whole_kwh else None
    return Lifetime(training_kwh, request_j, break_even, expected_requests, use_kwh, share)
