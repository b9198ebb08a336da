"""What is counted in a log without gradients: co-purchases, neighbours, rates over time, spectral vectors."""
