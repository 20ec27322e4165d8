"""Scoring on a Ray cluster: actors in place of worker processes. Ray is imported in `connect` and nowhere else."""
