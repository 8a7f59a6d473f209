"""Webhooks at the end of a run: written down, signed, sent until they arrive."""
