"""Figures drawn with matplotlib: Q matrices, embeddings on chips."""
