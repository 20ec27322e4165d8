"""MTCNN: a cascade of three small networks that finds faces."""
