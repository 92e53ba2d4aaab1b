"""Registration, and the mailed links that verify, invite and recover accounts."""
