"""The bytes that each user stores, and their limit."""
