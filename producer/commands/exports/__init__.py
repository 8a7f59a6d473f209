"""Commands that write runs and trainings for other tools.

export.py   `annealq runs export`
curves.py   `annealq networks curves`
track.py    `annealq runs track`, `annealq networks track`
"""
