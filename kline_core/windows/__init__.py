"""Windows of consecutive bars: which are usable, what followed them, their charts, and how alike two of them are."""
