"""The framework of all modules: manifest, registry, settings, identity, errors, jobs."""
