"""Whisper (Radford et al., ICML 2023): what is spoken in a clip, run by CTranslate2."""
