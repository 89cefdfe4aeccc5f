"""Evaluation of stored values: information coefficients, quantile returns, changes between sessions."""
