"""The rivals of annealq: the same work as a user of Ocean would write it."""
