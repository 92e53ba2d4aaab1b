"""What leaves by mail, and the mailbox that keeps it instead during development."""
