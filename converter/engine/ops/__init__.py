"""The operations, by subject; each module registers its kernels."""
