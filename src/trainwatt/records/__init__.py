"""A run as data: its snapshots, its run folder, and what is read back from it."""
