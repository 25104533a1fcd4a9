"""Training and use of a model, over its life."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from trainwatt.errors import ArgumentError
from trainwatt.units import J_PER_KWH, kwh_from_j


@dataclass(frozen=True)
class Lifetime:
    """What training and using a model take.

    Attributes:
        training_kwh: energy of the training.
        request_j: energy of a request.
        break_even_requests: after so many of them use has taken as much as training.
        expected_requests: how many are expected; None where that is not known.
        use_kwh: energy of these.
        training_share: the part of training in both, 0 to 1.
    """

    training_kwh: float
    request_j: float
    break_even_requests: float
    expected_requests: float | None = None
    use_kwh: float | None = None
    training_share: float | None = None

    def text(self) -> str:
        """In a sentence, or two."""
        told = (
            f"Training took {self.training_kwh:.3g} kWh, a request takes {self.request_j:.3g} J: after "
            f"{self.break_even_requests:.2g} requests use has taken as much as training."
        )
        if self.expected_requests is None:
            return told
        return (
            f"{told} Of the energy of training and {self.expected_requests:.2g} requests, {self.use_kwh:.3g} kWh for "
            f"these, training is {self.training_share:.0%}."
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)


def lifetime(training_kwh: float, request_j: float, expected_requests: float | None = None) -> Lifetime:
    """After how many requests use has taken as much energy as training: ``training / request``.

    Args:
        training_kwh: energy of the training, with all that was tried on the way, if you know it.
        request_j: energy of a request, joules.
        expected_requests: how many are expected in the model's life.

    Raises:
        ArgumentError: negative or infinite energy, a request that takes none, a negative number of requests.
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
