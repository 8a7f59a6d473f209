"""One file for each command of `annealq`; what several commands share is in `shared/`."""
