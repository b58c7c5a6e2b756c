"""Does a kernel source tree, or a patch to it, keep the convention? Asked before anyone boots it.

The tree's own address helpers are compiled, unchanged, for the host, and compared with
`addressing/` for every width of a Realm.
Belongs here: finding the helpers in a tree, compiling and asking them, judging the answers.
Does not belong here: what right is (`addressing/`), fetching trees (`store/`).
"""
