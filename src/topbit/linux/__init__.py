"""The modelled guest: what Linux in a Realm does to hand memory to a device.

Belongs here: RSI calls of the guest, set_memory_decrypted(), swiotlb, dma-direct, the DMA API and
drivers that use it; files are named as in the kernel (`swiotlb.py` is kernel/dma/swiotlb.c).
Does not belong here: anything the host knows. A guest sees its CPU (`cpu.RealmCpu`) and no more.
"""
