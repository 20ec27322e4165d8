"""Check this installation: versions, problems and their cures."""
