"""HTTP endpoints, one file for each resource.

submissions.py  POST /v1/runs: submit a run      options.py  the fields of its body
uploads.py      images of a request              runs.py     list, show, pause, resume and cancel runs
results.py      classified images: JSON, CSV, Parquet
events.py       progress as server-sent events   catalogue.py  networks and embeddings
health.py       liveness and readiness           metrics.py  metrics for Prometheus
pages.py        the dashboard, mounted at `/`      webhooks.py     messages to webhooks, for /openapi.json
problems.py     what each kind of error means
"""
