"""Tasks: the example of a module with two versions of its routes, and a deprecated field."""
