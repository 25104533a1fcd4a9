"""trainwatt for the Hugging Face Trainer.

>>> from trainwatt_transformers import FootprintCallback  # doctest: +SKIP
>>> trainer = Trainer(model, args, train_dataset=data, callbacks=[FootprintCallback()])  # doctest: +SKIP

Importing it registers ``TrainingArguments(report_to=["trainwatt", ...])`` with transformers.

Only the names in ``__all__`` are public.
"""

from __future__ import annotations

try:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    from trainwatt_transformers.callback import FootprintCallback
    from trainwatt_transformers.stopping import GreenEarlyStoppingCallback
except ModuleNotFoundError as error:
    # without one of its own requirements, transformers raises an error that names no module
    if error.name is not None and error.name.partition(".")[0] not in {"accelerate", "torch", "transformers"}:
        raise
    message = 'trainwatt_transformers needs transformers, torch and accelerate: pip install "trainwatt[transformers]"'
    raise ImportError(message, name=error.name) from error

__all__ = ["FootprintCallback", "GreenEarlyStoppingCallback"]

INTEGRATION_TO_CALLBACK["trainwatt"] = FootprintCallback
