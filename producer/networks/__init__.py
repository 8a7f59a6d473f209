"""Networks: described, packed into files, shipped, installed, chosen, and queued for training."""
