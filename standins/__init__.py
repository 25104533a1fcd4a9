"""Devices, clocks and machines whose truth is known: for tests and benchmarks."""
