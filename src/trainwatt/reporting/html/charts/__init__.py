"""The pictures of a report: one Vega-Lite specification a module."""
