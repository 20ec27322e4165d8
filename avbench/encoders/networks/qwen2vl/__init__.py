"""What the judges built on Qwen2-VL share: frames, prompts, the network with a reward head, checkpoint entries."""
