"""Commands that look at the machine: its power sources, and its plug."""
