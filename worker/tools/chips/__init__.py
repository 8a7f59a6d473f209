"""Programs that measure a chip by the stored reads of its problems.

chip_map.py         field errors and broken chains of each qubit of a chip
twin.py             a twin of the chip of a run, as a file for the emulator
stored_problems.py  stored problems as they were sent, which both read
"""
