"""What all flows share: parameters, the session that a run is for, home and cluster."""
