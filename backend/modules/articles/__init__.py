"""Texts that are written in private and published for everybody."""
