"""Checked reading of files and states that somebody else may have written: run folders, checkpoints.

A value is checked once, where it enters; everything behind that place may rely on its type and range.
"""
