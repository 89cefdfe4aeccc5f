"""What a market costs: counted, measured for some seconds on this machine, and projected."""
