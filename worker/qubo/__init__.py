"""The energy function that is sampled: Q, its BINARY and SPIN form, and noise on it. Pure numpy.

energy_model.py  Q of a network: quadratic biases once, linear biases of a batch, energies of reads
class_states.py  lowest energies with one class unit on, in closed form
dense_groups.py  Q as dense pieces
exact_sums.py    rounds values so that their sums are the same on all machines
ising.py         between BINARY (x in {0, 1}) and SPIN (s in {-1, +1})
noise.py         Gaussian errors on h and J, as of an analog annealer
"""
