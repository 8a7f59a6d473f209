"""HTTP endpoints, one file for each resource.

runs/         runs, their images and their progress
submissions/  images that are sent
catalogue/    networks, embeddings, calibrations and schedules
me.py         the caller and their limits      keys.py      API keys, for administrators
health.py     liveness and readiness           metrics.py     metrics for Prometheus
problems.py   what each kind of error means    deliveries.py  messages to webhooks
pages.py      the dashboard, mounted at `/`    webhooks.py    the same messages, for /openapi.json
page_actions.py  what the dashboard does
"""
