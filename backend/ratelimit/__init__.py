"""How requests are counted: rules, and the places that keep the counts. Use `core.limits`."""
