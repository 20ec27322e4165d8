"""Writes, renames and locks of the trainer: those of avbench, which every file of a run goes through."""

from avbench.files import make_folder, path_aside, rename, take_lock, write_atomically

__all__ = ["make_folder", "path_aside", "rename", "take_lock", "write_atomically"]
