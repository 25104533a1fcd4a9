"""Joules of each device over time."""
