"""What is fetched and kept: the cache, Debian's archive, tools, kernels with images and modules.

Nothing here starts a machine or knows what one is.
"""
