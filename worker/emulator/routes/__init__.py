"""HTTP endpoints of the emulator."""
