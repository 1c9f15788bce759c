"""Writing files of any kind: atomic replacement, parallel writes, locks, and the containers of arrays."""
