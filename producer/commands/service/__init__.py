"""The commands of whoever runs the HTTP API.

serve.py     `annealq serve`: the API and the dashboard
keys.py      `annealq keys`: owners and their keys
webhooks.py  `annealq webhooks`: messages to webhooks
"""
