"""What stored values were worth: information coefficients, quantile returns, changes between sessions."""
