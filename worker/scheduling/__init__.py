"""What is worked on next, and whether it may be: turns, limits, windows, circuit breaker."""
