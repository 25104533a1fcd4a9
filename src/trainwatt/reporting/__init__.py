"""Reports for users: HTML pages, terminal, progress bar and experiment trackers."""
