"""Small private records, each with one owner."""
