"""Power of GPUs, CPUs and memory: one module per source; :mod:`trainwatt.power.discovery` selects among them."""
