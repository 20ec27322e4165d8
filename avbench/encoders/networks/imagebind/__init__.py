"""ImageBind."""
