"""Pages that are tables of everything but runs, one file for each.

workers.py     workers: who is alive, and what they do
networks.py    networks with their accuracies, and their calibrations
solvers.py     QPUs with their queue, price and health; chips and embeddings
chips.py       one chip, and a heat map of its qubits
schedules.py   schedules, and the plan of the coming windows
keys.py        API keys and what was used of their limits; a form that adds an owner
owners.py      one owner: its limits, keys and webhook, and forms that change them
deliveries.py messages to webhooks: listed, shown with their attempts, sent again, tested
"""
