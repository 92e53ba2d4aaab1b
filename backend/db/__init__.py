"""PostgreSQL: connections and transactions, tables and lists, migrations, the embedded server.

Imports neither `backend.core` nor any module.
"""
