"""HTTP endpoints, one file for each resource.

runs/         runs, their images and their progress
submissions/  images that are sent
catalogue/    networks, embeddings, calibrations and schedules
health.py     liveness and readiness           metrics.py   metrics for Prometheus
problems.py   what each kind of error means    webhooks.py  messages to webhooks, for /openapi.json
pages.py      the dashboard, mounted at `/`
"""
