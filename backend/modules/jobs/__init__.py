"""The jobs of all modules, as an operator sees them: waiting, running, failed."""
