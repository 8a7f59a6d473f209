"""Text, tables, progress bars and files for people."""
