"""topbit: device DMA in confidential virtual machines, run, checked and explained."""

__version__ = "0.1.0"
