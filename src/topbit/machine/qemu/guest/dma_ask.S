/*
 * A driver that asks the kernel's DMA API one question, for `topbit table --observe`.
 *
 * It is the code of a kernel module; guest/ask_module.py makes the module around it, which is
 * loaded, asks, prints what came of it, and when it is unloaded gives back what it was given:
 *
 *   topbit-ask: N asks                   what the kernel itself prints comes after it
 *   topbit-ask: N mask M linear L phys P addr A
 *                                        M: what dma_set_mask() returned; L: the memory is in the
 *                                        linear map; A: all ones for an error
 *   topbit-ask: N back B                 1: a device copied the buffer's first bytes to `COPY`
 *
 * A buffer, coherent memory and shared memory begin with `PATTERN` bytes that no other has.
 */

	.equ	ID, 0			// the question: written by guest/ask_module.py
	.equ	OP, 8			// what is called: `ops` below
	.equ	MASK, 16		// for dma_set_mask() and dma_set_coherent_mask()
	.equ	SIZE, 24
	.equ	ATTRS, 32		// of a mapping
	.equ	GFP, 40
	.equ	PHYS, 48		// of device registers
	.equ	PAGE_OFFSET, 56		// where the kernel's linear map begins
	.equ	PAGE_END, 64		// and ends
	.equ	PLATFORM, 72		// the device is on the platform bus; else on PCI's
	.equ	PAGE_SHIFT, 80
	.equ	ADDR, 88		// the answer: from here on the module's own
	.equ	VIRT, 96
	.equ	DEV, 104
	.equ	TABLE, 112		// two struct scatterlist
	.equ	SHARED_ADDR, 176
	.equ	NAME, 192		// texts
	.equ	ASKS, 256
	.equ	ANSWER, 320
	.equ	BACK, 384

	.equ	SG, 32			// sizeof(struct scatterlist)
	.equ	SG_END, 2
	.equ	COPY, 64
	.equ	ENODEV, 19
	.equ	GFP_KERNEL, 0xcc0

	.macro	kernel name
	ldr	x16, \name
	blr	x16
	.endm

	.macro	either name, older
	ldr	x16, \name
	ldr	x17, \older
	cmp	x16, #0
	csel	x16, x17, x16, eq
	blr	x16
	.endm

	.macro	slot name
\name:	.quad	0
	.endm

	/* In the order of ask_module.py's SYMBOLS; the kernel's loader writes them. */
	slot	question
	slot	pci_bus_type
	slot	platform_bus_type
	slot	device_match_name
	slot	bus_find_device
	slot	put_device
	slot	_printk
	slot	memstart_addr
	slot	dma_set_mask
	slot	dma_set_coherent_mask
	slot	vzalloc_noprof
	slot	vzalloc
	slot	vfree
	slot	vmalloc_to_page
	slot	vmalloc_to_pfn
	slot	dma_map_page_attrs
	slot	dma_unmap_page_attrs
	slot	dma_map_sg_attrs
	slot	dma_unmap_sg_attrs
	slot	dma_alloc_attrs
	slot	dma_free_attrs
	slot	dma_map_phys
	slot	dma_unmap_phys
	slot	dma_map_resource
	slot	dma_unmap_resource

	b	init
	b	cleanup

init:
	stp	x29, x30, [sp, #-48]!
	mov	x29, sp
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	ldr	x19, question
	ldr	x0, pci_bus_type
	ldr	x1, platform_bus_type
	ldr	x2, [x19, #PLATFORM]
	cmp	x2, #0
	csel	x0, x0, x1, eq
	mov	x1, #0
	add	x2, x19, #NAME
	ldr	x3, device_match_name
	kernel	bus_find_device
	mov	w20, #-ENODEV
	cbz	x0, 9f
	str	x0, [x19, #DEV]
	mov	x0, #-1
	str	x0, [x19, #ADDR]
	str	x0, [x19, #SHARED_ADDR]
	add	x0, x19, #ASKS
	ldr	x1, [x19, #ID]
	kernel	_printk
	mov	w20, #0			// where the memory is: not in the linear map
	ldr	x0, [x19, #OP]
	cmp	x0, #4
	b.eq	shared
	bl	set_mask
	mov	w21, w0
	ldr	x0, [x19, #OP]
	adr	x1, ops
	ldr	w0, [x1, x0, lsl #2]
	add	x1, x1, w0, sxtw
	mov	x22, #0			// the memory's physical address
	br	x1
answered:
	add	x0, x19, #ANSWER
	ldr	x1, [x19, #ID]
	mov	w2, w21
	mov	w3, w20
	mov	x4, x22
	ldr	x5, [x19, #ADDR]
	kernel	_printk
	mov	w20, #0
9:	mov	w0, w20
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x29, x30, [sp], #48
	ret

ops:	.word	page - ops, table - ops, alloc - ops, registers - ops, shared - ops

	/* A buffer of the driver's, of no memory in particular. */
page:
	hint	#36			// bti j
	bl	buffer
	mov	x1, x0
	ldr	x0, [x19, #DEV]
	mov	x2, #0
	ldr	x3, [x19, #SIZE]
	mov	w4, #0			// DMA_BIDIRECTIONAL
	ldr	x5, [x19, #ATTRS]
	kernel	dma_map_page_attrs
	str	x0, [x19, #ADDR]
	b	answered

	/* The same as a list of two. */
table:
	hint	#36
	bl	buffer
	str	x0, [x19, #TABLE]
	ldr	x0, [x19, #SIZE]
	str	w0, [x19, #TABLE + 12]
	str	w0, [x19, #TABLE + SG + 12]
	ldr	x0, [x19, #VIRT]
	mov	x1, #1
	ldr	x2, [x19, #PAGE_SHIFT]
	lsl	x1, x1, x2
	add	x0, x0, x1
	kernel	vmalloc_to_page
	orr	x0, x0, #SG_END
	str	x0, [x19, #TABLE + SG]
	ldr	x0, [x19, #DEV]
	add	x1, x19, #TABLE
	mov	w2, #2
	mov	w3, #0
	ldr	x4, [x19, #ATTRS]
	kernel	dma_map_sg_attrs
	cbz	w0, answered
	ldr	x0, [x19, #TABLE + 16]
	str	x0, [x19, #ADDR]
	b	answered

	/* Coherent memory. */
alloc:
	hint	#36
	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #SIZE]
	add	x2, x19, #ADDR
	ldr	x3, [x19, #GFP]
	mov	x4, #0
	kernel	dma_alloc_attrs
	str	x0, [x19, #VIRT]
	cbz	x0, 1f
	bl	write
	bl	where
	b	answered
1:	mov	x0, #-1
	str	x0, [x19, #ADDR]
	b	answered

	/* Device registers. */
registers:
	hint	#36
	ldr	x22, [x19, #PHYS]
	bl	map
	b	answered

	/* Memory that is shared already: coherent memory, which a device with any mask is given. */
shared:
	ldr	x22, [x19, #MASK]
	mov	x0, #-1
	str	x0, [x19, #MASK]
	bl	set_mask
	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #SIZE]
	add	x2, x19, #SHARED_ADDR
	mov	w3, #GFP_KERNEL
	mov	x4, #0
	kernel	dma_alloc_attrs
	str	x0, [x19, #VIRT]
	str	x22, [x19, #MASK]
	mov	x22, #0
	mov	w21, #-ENODEV
	cbz	x0, answered
	bl	set_mask
	mov	w21, w0
	ldr	x0, [x19, #VIRT]
	bl	write
	bl	where
	bl	map
	b	answered

	/* dma_map_phys() of x22, or dma_map_resource() where there is no such function. */
map:
	stp	x29, x30, [sp, #-16]!
	ldr	x0, [x19, #DEV]
	mov	x1, x22
	ldr	x2, [x19, #SIZE]
	mov	w3, #0
	ldr	x4, [x19, #ATTRS]
	either	dma_map_phys, dma_map_resource
	str	x0, [x19, #ADDR]
	ldp	x29, x30, [sp], #16
	ret

	/* Both masks of the device; w0: what dma_set_mask() returned. */
set_mask:
	stp	x29, x30, [sp, #-32]!
	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #MASK]
	kernel	dma_set_mask
	str	x0, [sp, #16]
	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #MASK]
	kernel	dma_set_coherent_mask
	ldr	x0, [sp, #16]
	ldp	x29, x30, [sp], #32
	ret

	/* Two pages; x0: the first one's struct page, x22: its physical address. */
buffer:
	stp	x29, x30, [sp, #-16]!
	mov	x0, #2
	ldr	x1, [x19, #PAGE_SHIFT]
	lsl	x0, x0, x1
	either	vzalloc_noprof, vzalloc
	str	x0, [x19, #VIRT]
	bl	write
	bl	where
	ldr	x0, [x19, #VIRT]
	kernel	vmalloc_to_page
	ldp	x29, x30, [sp], #16
	ret

	/* The pattern at x0. */
write:
	ldr	x1, [x19, #ID]
	mvn	x2, x1
	stp	x2, x1, [x0]
	ret

	/* x22: the physical address of the memory at VIRT, w20: is it in the linear map? */
where:
	stp	x29, x30, [sp, #-16]!
	ldr	x0, [x19, #VIRT]
	ldr	x1, [x19, #PAGE_END]
	cmp	x0, x1
	b.hs	1f
	ldr	x1, [x19, #PAGE_OFFSET]
	sub	x0, x0, x1
	ldr	x1, memstart_addr
	ldr	x1, [x1]
	add	x22, x0, x1
	mov	w20, #1
	b	2f
1:	kernel	vmalloc_to_pfn
	ldr	x1, [x19, #PAGE_SHIFT]
	lsl	x22, x0, x1
2:	ldp	x29, x30, [sp], #16
	ret

cleanup:
	stp	x29, x30, [sp, #-32]!
	mov	x29, sp
	stp	x19, x20, [sp, #16]
	ldr	x19, question
	ldr	x0, [x19, #ADDR]
	cmn	x0, #1
	b.eq	2f
	ldr	x0, [x19, #OP]
	cmp	x0, #1
	b.eq	3f
	cmp	x0, #2
	b.eq	2f			// freed when it has been looked at
	mov	x9, x0
	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #ADDR]
	ldr	x2, [x19, #SIZE]
	mov	w3, #0
	ldr	x4, [x19, #ATTRS]
	cbnz	x9, 1f
	kernel	dma_unmap_page_attrs
	b	2f
1:	either	dma_unmap_phys, dma_unmap_resource
	b	2f
3:	ldr	x0, [x19, #DEV]
	add	x1, x19, #TABLE
	mov	w2, #2
	mov	w3, #0
	ldr	x4, [x19, #ATTRS]
	kernel	dma_unmap_sg_attrs
2:	mov	w20, #0
	ldr	x0, [x19, #VIRT]
	cbz	x0, 4f
	ldp	x1, x2, [x0]
	ldp	x3, x4, [x0, #COPY]
	cmp	x1, x3
	ccmp	x2, x4, #0, eq
	cset	w20, eq
4:	add	x0, x19, #BACK
	ldr	x1, [x19, #ID]
	mov	w2, w20
	kernel	_printk
	ldr	x2, [x19, #VIRT]
	cbz	x2, 6f
	ldr	x3, [x19, #ADDR]
	ldr	x0, [x19, #OP]
	cmp	x0, #2
	b.eq	5f
	ldr	x3, [x19, #SHARED_ADDR]
	cmp	x0, #4
	b.eq	5f
	mov	x0, x2
	kernel	vfree
	b	6f
5:	ldr	x0, [x19, #DEV]
	ldr	x1, [x19, #SIZE]
	mov	x4, #0
	kernel	dma_free_attrs
6:	mov	x0, #-1
	str	x0, [x19, #MASK]
	bl	set_mask
	ldr	x0, [x19, #DEV]
	kernel	put_device
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp], #32
	ret
