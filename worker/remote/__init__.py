"""One batch on a solver with qubits: prepared, submitted, collected, and checked for duplicates."""
