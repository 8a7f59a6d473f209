"""The HTTP API for other services: `annealq serve`.

    app.py          the application: routes, errors, life span      service.py   what all requests share
    settings.py     `ANNEALQ_API_*`                                 errors.py    one shape for every error
    keys.py         API keys and their limits, in SQL               access.py    who may ask for what
    options.py      what may be said of a run                       uploads.py   images that are sent
    submissions.py  POST /v1/runs                                   runs.py      runs: show, list, control
    results.py      images of a run: JSON, CSV, Parquet             body.py      the limit of a body
    events.py       progress until the end                          watch.py     one look for all who listen
    health.py       alive, ready                                    metrics.py, exposition.py: for Prometheus
    courier.py      messages to webhooks                            addresses.py where those may be
    snapshots.py    runs as they are shown                          admitted.py  callers of the last second
    catalogue.py    networks and embeddings                         doorbell.py  hints to the workers
    sight.py        which runs a caller sees

It writes rows and reads rows, as the command line does: work goes on when the API is away.
"""
