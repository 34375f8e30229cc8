"""What is timed. Each function here runs in an agent and gives a dict of numbers, for one round of one contender."""
