"""PostgreSQL: connections, transactions, base classes of tables, lists, schema and migrations.

Imports neither `backend.core` nor any module.
"""
