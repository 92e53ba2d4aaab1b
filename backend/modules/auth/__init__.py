"""Signing in, sessions, and who is calling."""
