"""Signals of the process: received at once, and delivered when they cannot harm."""
