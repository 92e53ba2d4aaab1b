"""Liveness and readiness of a process."""
