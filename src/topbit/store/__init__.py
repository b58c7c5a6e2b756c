"""What is fetched and kept: the cache, Debian's archive, tools, kernels with images and modules.

Belongs here: what lies under the cache's folder, how it gets there, and what a kernel's files say
of themselves.
Does not belong here: starting a machine, or knowing what one is.
"""
