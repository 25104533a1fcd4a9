"""Power of NVIDIA GPUs."""
