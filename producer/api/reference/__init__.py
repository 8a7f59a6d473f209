"""The description of the API: /openapi.json, and /docs for browsers.

openapi.py   the description, made from the routes
statuses.py  the statuses that each operation answers with
examples.py  examples of requests and answers
page.py      /docs, served without other sites; its files are in `static`
"""
