"""What to call similar, learned walk-forward: metrics that are taught what followed windows."""
