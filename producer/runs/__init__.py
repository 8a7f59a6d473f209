"""One run: requested, enqueued, controlled, scored again, pruned, and read back."""
