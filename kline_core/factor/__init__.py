"""Factor values: sample dates, matches weighed into values, and the storage of both."""
