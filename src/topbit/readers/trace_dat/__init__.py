"""trace.dat files of trace-cmd, versions 6 and 7: the file, its sections, its ring buffers.

Belongs here: the format (trace-cmd.dat(5)) and the kernel's raw events.
Does not belong here: what the events mean for DMA, which is `topbit.readers.ftrace.events`.
"""
