"""What a flow shows: progress, summary, pictures, and advice after a failure."""
