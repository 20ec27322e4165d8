"""The method as functions of tensors: advantages, losses, gradient surgery, region weights, schedules."""
