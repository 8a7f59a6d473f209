"""The emulated service without HTTP: queue, store, faults."""
