"""CAVP, stage 1 of Diff-Foley."""
