"""Simple methods that answer the factor's question: same samples, same rules, same errors."""
