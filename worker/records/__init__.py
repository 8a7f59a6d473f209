"""Rows of work: claimed under a lease, moved on, handed back. No numbers are computed here."""
