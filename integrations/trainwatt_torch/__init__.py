"""PyTorch helpers that the trainwatt plugins for torch-based frameworks share."""
