"""FaceMesh: 468 points of a face, here for how far the mouth is open."""
