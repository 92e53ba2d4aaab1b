"""Drills cause faults of operation under load. `python -m drills --help` lists them."""
