"""Projection of a whole run's energy and duration from its beginning and its plan."""
