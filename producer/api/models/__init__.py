"""The bodies of answers: most are the rows that the queries return, with what a route adds to them.

answers.py     JSON from them, and pages with links
runs.py        runs, their results and their progress
deliveries.py  messages to webhooks
catalogue.py   networks, embeddings, calibrations and schedules
service.py     the caller, keys and health
owners.py      requests about owners of keys
"""
