"""Rewards: what is asked for, and scorers of avbench or functions that answer, here or in Ray workers."""
