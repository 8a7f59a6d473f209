"""Finds an embedding, or as many copies as fit: shipped, constructed, filled in, repaired."""
