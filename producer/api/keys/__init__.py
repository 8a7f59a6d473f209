"""API keys and their limits, in SQL."""
