"""Records of a run: snapshots, the run folder, and reading both back."""
