"""Which address does a device get for a page, and what does a device address mean?

Belongs here: schemes (which bit says shared or private, and which way round), the kernel's DMA
address helpers and `dma-ranges`, dated kernel policies, the explanation of one address, and in
`proofs/` what is proved of the helpers.
Everything works on ints and on uint64 arrays, with the same results.
Does not belong here: devices, page tables, and who is right.

**The one place where the guest sets the shared bit** is `dma_direct.phys_to_dma_unencrypted`.
"""
