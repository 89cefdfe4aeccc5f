"""Factor values: sample dates, matches weighed into values, and what is stored of them."""
