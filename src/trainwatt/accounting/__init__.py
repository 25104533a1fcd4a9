"""Joules by phase and epoch: who drew them, and when."""
