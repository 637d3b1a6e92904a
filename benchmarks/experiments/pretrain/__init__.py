"""Makes the embedded ViT: a small student of a large image model, from public images and a teacher's embeddings."""
