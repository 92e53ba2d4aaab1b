"""A modular monolith. `backend.main` composes it, `backend.cli` runs it."""
