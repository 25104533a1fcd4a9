"""Emissions, water and cost of energy at a site."""
