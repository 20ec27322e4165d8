"""The training loop and what it needs: rollouts, checkpoints, tracking, diagnostics, memory."""
