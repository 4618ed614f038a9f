"""Deliberately broken servers and clients, a small switch around a correct one each: proof that every rule can fail."""
