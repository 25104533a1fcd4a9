"""Text from outside in a form that acts on nothing: one module, or one function, for each format that we write."""
