"""The operations, by subject; each module enters its kernels into the registry's table."""
