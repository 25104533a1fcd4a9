"""The whole run, projected from its beginning and its plan."""
