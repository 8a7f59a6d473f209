"""One machine's stack: private broker, emulator, workers and reconciler as supervised child processes."""
