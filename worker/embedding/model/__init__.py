"""What an embedding is: graphs, lattices, placement, validity, unembedding."""
