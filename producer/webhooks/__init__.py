"""Webhooks: tell other services what happens to their runs.

kinds.py       what messages tell, and which of it a webhook is to receive
notices.py     finds what is to be told, and enqueues it
deliveries.py  messages as rows: claim, record the result, send again, test
listing.py     messages for display
signing.py     signatures and secrets of standardwebhooks.com
addresses.py   check that a URL leads to a public address
sender.py      send messages that are due over HTTP
"""
