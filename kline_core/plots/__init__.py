"""Pictures, and the only wing that imports matplotlib."""
