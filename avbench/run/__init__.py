"""Runs: plan what is missing, score clips in processes, score sets of clips, write results."""
