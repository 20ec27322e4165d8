"""One file or package per network: how it is loaded, and the encoders that use it."""
