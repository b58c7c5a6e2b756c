"""Which recording do files from anywhere make?

Belongs here: opening and recognising files, one parser per format (ftrace text, trace.dat, kernel
log, SMMU event queue), the platform facts that logs tell, and joining the files of one run.
Does not belong here: verdicts. A reader says what stands in a file and what could not be read.
"""
