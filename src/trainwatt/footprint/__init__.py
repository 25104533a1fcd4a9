"""The meaning of energy at a site: emissions, water and cost."""
