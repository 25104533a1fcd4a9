"""Meters at a machine's plug, to calibrate what its devices report."""
