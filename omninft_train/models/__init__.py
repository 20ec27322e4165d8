"""Networks: backbones, policies with their adapters, velocities, hooks into attention."""
