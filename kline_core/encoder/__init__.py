"""The encoder that turns a chart into a vector: network, weights, training."""
