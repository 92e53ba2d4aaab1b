"""Migrations, and the comparison of the schema with the models."""
