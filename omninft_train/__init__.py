"""Online RL for joint audio-video generators: DiffusionNFT with OmniNFT's three mechanisms, on diffusers' LTX-2."""
