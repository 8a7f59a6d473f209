"""What a network is: layers, architecture, weights, and the shipped presets."""
