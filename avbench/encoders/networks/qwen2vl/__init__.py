"""Shared parts of the judges built on Qwen2-VL: frames, prompts, the network with a reward head, checkpoint entries."""
