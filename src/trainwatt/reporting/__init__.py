"""Reports for people: pages, terminal, progress bar, experiment trackers."""
