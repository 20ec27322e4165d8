"""UMT ViT-L/16: which of the 400 actions of Kinetics a clip shows."""
