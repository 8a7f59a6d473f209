"""API keys and their limits.

keys.py    add, identify, list and revoke keys
limits.py  requests per minute, images and QPU time per day
"""
