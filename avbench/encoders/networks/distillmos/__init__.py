"""DistillMOS: predicted quality of speech by a small network that was taught by a large one."""
