"""RAFT optical flow."""
