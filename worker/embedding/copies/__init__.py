"""Copies of one embedding on a chip, found one at a time by minorminer."""
