"""A finished run as one self-contained page, a model card and an index. Reads run folders only; loads no torch."""
