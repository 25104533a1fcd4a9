"""Pure rules of green early stopping."""
