"""Webhooks: notify other services when a run ends or waits for its solver.

addresses.py   check that a URL leads to a public address
deliveries.py  messages as rows: enqueue, sign, claim, record the result
sender.py      send messages that are due over HTTP
"""
