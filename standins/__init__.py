"""Simulated GPUs, machines and servers with known true values, for tests and benchmarks."""
