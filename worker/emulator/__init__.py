"""An emulated solver that speaks SAPI, D-Wave's protocol: `python -m worker.emulator`.

The emulator imports nothing of annealq's own client: a judge must not share the mistakes of what it judges.
The wire format was read from the source of dwave-cloud-client 0.14.8, not seen on a real QPU.

    server.py       the process: socket, endpoints, shutdown
    routes/         HTTP endpoints: solvers, problems, control (ledger and faults)
    service/        the service without HTTP: options, store, queue, faults
    qpu/            the modelled QPU: chips, timing, checks of problems, sampling
"""
