"""The commands of whoever runs the HTTP API.

serve.py     `annealq serve`: the API and the dashboard
keys.py      `annealq keys`: owners and their keys
read.py      `annealq runs read`: the images of runs that the API has enqueued
webhooks.py  `annealq webhooks`: messages to webhooks
"""
