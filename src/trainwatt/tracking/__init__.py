"""Measuring a run: from a framework's events to snapshots and records."""
