"""Power of CPUs and memory of the host."""
