"""Entry point of ``python -m trainwatt``."""

from __future__ import annotations

import sys

from trainwatt.cli import main

sys.exit(main())
