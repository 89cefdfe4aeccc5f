"""K-line factor: how often did the price rise after charts that looked like this one?"""

__version__ = "0.1.0"
