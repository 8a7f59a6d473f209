"""The HTTP API for other services, and the process behind `annealq serve`.

    app.py     the application: routes, error handlers, lifespan
    server.py  the process: uvicorn, the socket it listens on
    core/      what every request passes: settings, body limit, permissions, errors
    keys/      API keys, the caller of a request, and limits
    load/      what one process does at a time: pools of threads
    metrics/   metrics for Prometheus: of the database, and of this process
    live/      what one process shares between requests: caches, progress of runs, the notifier of workers
    transport/ HEAD, ETag, compression, other sites
    models/    the bodies of answers
    reference/ the description of the API, for programs and people
    routes/    the endpoints, one room for each kind of resource

The API reads and writes rows, as the command line does. Runs continue while no API process is running.
"""
