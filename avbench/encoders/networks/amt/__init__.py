"""AMT-S frame interpolation."""
