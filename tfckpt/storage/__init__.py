"""Storages: local files, memory, archives and remote files behind one contract."""
