"""D-Wave's solver API (SAPI), client side: connections, problems and answers on the wire, errors.

It is the only way to hardware, and to the emulator that speaks the same API.

    client.py       settings of dwave-cloud-client
    choice.py       the solver that a run uses: by name, graph or features
    directory.py    the QPUs of the service: which are online, and how busy they are
    connections.py  one connection per solver and process
    qpu.py          a connection: problems are submitted without waiting, answers arrive as events
    events.py       what happens to a problem: accepted, answered, failed
    checks.py       asks about problems one by one, in a thread
    problems.py     the solver's own list of problems: look-up by label, charges
    timing.py       estimates of QPU time
    charges.py      what problems were charged
    program.py      encodes a model on a chip for the wire
    wire.py         the wire format: base64 arrays of problems and answers
    errors.py       maps the client's errors to Refused, Unavailable or Uncertain
"""
