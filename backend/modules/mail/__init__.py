"""Delivery of mails, and the mailbox that keeps them during development."""
