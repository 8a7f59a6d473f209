"""From stored bytes to numbers and back, between two transactions. No database, no queue."""
