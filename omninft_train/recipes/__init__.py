"""Names of the files in this folder, which `--recipe` and `--backbone` take."""

RECIPES = ("vanilla", "gdpo", "omninft-routing", "omninft-routing-surgery", "omninft", "diffusionnft", "marble", "arr")
BACKBONES = ("miniature", "crowd", "ltx2")
VARIANTS = ("ltx2.3", "ltx2.5", "ltx2-small", "ltx2-32gb")
"""Files with what they change of a backbone, whose name theirs begin with."""
