"""Programs that answer what only the worker's libraries can compute: `python -m worker.tools.NAME`.

A producer starts them with `producer.stack.programs`; each prints its answer, or one line about its error.

    bundle.py             a bundle of a run, by which it can be proven
    verify.py             what a bundle proves
    baseline.py           accuracy and time of a network without an annealer
    check_backbone.py     whether an ONNX file may become a backbone
    chips/                what the stored reads of chips say about them: a map, a twin
    energy_histograms.py  energies of the reads of single images
    ocean_embedding.py    checks and stores an embedding that Ocean's tools wrote
    ocean_model.py        the energy function of an image, as a model of Ocean
    ocean_samples.py      reads of an image or a problem, as a sample set of Ocean
    q_matrix.py           the Q matrix of a network, as a file of arrays
    solver_problems.py    the problems that a solver has of annealq's
    improve_plan.py       a search for better shipped tilings, for developers
    forkserver.py         forks them where a producer starts many
    entry.py              how each of them reports an error
"""
