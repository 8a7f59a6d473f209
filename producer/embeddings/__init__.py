"""Embeddings and chips that workers have stored: read, and removed when unused."""
