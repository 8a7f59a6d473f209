"""What one API process keeps between requests: caches, feeds and a thread that notifies workers."""
