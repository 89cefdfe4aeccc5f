"""What several test modules share: homes, markets, clusters and servers. No test module imports from another one."""
