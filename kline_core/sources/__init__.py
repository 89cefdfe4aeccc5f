"""Live sources: bars and members of indices by vendors' own clients, and the fetch that brings them into a home."""
