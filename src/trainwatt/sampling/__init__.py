"""Cumulative energy of each device over time."""
