"""How many of one unit make another."""

NS_PER_S = 10**9
NS_PER_US = 1000
US_PER_MS = 1000
US_PER_S = 1e6
