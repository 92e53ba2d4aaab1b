"""Accounts, their passwords, and the roles of each user."""
