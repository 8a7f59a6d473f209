"""API keys: who sends a request, and what this key may do.

keys.py            add, identify, list and revoke keys
authentication.py  the caller of a request, by its key
limits.py          requests per minute, images and QPU time per day
"""
