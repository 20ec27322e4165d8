"""NISQA: predicted quality of transmitted speech, and naturalness of synthetic speech."""
