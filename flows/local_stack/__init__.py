"""`kline up`: server, deployments, worker and warm cluster of a home, started, watched and ended together."""
