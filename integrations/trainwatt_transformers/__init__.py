"""trainwatt for the Hugging Face Trainer.

>>> from trainwatt_transformers import FootprintCallback  # doctest: +SKIP
>>> trainer = Trainer(model, args, train_dataset=data, callbacks=[FootprintCallback()])  # doctest: +SKIP

Importing it makes ``TrainingArguments(report_to=["trainwatt", ...])`` known to transformers.
"""

from __future__ import annotations

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from trainwatt_transformers.callback import FootprintCallback
from trainwatt_transformers.stopping import GreenEarlyStoppingCallback

__all__ = ["FootprintCallback", "GreenEarlyStoppingCallback"]

INTEGRATION_TO_CALLBACK["trainwatt"] = FootprintCallback
