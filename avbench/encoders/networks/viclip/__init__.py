"""ViCLIP ViT-L/14 of InternVid: a clip and a text in one space."""
