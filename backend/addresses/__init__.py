"""Addresses of all kinds in their canonical form: values in, values out, no settings."""
