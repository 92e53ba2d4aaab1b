"""Accounts: who people are, and which roles they have."""
