"""The client's side of a call: inputs placed, the worker rung, outputs wrapped."""
