"""Many copies of a small network, packed side by side."""
