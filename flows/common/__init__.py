"""Parts that all flows share: parameters, the session of a run, home and cluster."""
