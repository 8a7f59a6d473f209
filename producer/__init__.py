"""The producer: command line, HTTP API, and everything that queues work and reads results. It runs no
science.
"""
