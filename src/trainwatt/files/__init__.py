"""Files that are written: safely, in the background, and as JSON that any reader understands."""
