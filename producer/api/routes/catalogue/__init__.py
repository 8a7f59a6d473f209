"""What runs are made with and from: networks, embeddings, calibrations and schedules.

networks.py      networks: listed and shown
embeddings.py    embeddings and chips
calibrations.py  sampling parameters that are fitted for a network
schedules.py     requests that become runs at given times, and the plan of the coming windows
"""
