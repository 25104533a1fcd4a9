"""Power of CPUs and memory."""
