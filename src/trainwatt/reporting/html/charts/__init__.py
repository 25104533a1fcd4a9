"""Charts of a report, as Vega-Lite specifications: one module per chart."""
