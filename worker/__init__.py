"""The worker: Celery tasks and the reconciler, which claim work, sample it on an annealer and score it."""
