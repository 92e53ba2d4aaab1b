"""Roles and the permissions they collect."""
