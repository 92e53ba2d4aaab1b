"""Drills: operational faults under load. `python -m drills --help` lists them."""
