"""One copy of a layered network, constructed along the lines of the lattice."""
