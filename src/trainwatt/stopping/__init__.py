"""Pure rules of green early stopping: no meters, no clock, no files."""
