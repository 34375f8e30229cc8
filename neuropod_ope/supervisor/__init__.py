"""Worker processes: starting, watching, diagnosing and ending them."""
