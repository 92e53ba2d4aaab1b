"""The jobs of all modules, as an operator sees them: what waits, what runs, what has failed."""
