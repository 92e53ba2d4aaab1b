"""Clients of external services, each behind a protocol with one method."""
