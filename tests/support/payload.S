// SPDX-License-Identifier: MIT
//
// A hostile guest: a program for EL1 without any system, booted in place of a kernel.
// Part 1 reads, page by page, addresses that its stage 2 does not give it, in both halves.
// Part 2 makes calls, accesses and instructions that the seed chooses, hands out what nobody asked
// for (the outbox), and writes to the registers of the VMM's first device. Part 1 then comes once
// more, for what the calls may have opened. It then prints, in hex:
//   "done LEAKS ROUNDS ABORTS OTHER UNDEFINED" and turns the machine off.
// The loader patches the parameters behind `parameters`.
//
// x19 random state, x20 rounds left, x21 external aborts, x22 other exceptions, x23 undefined,
// x24 memory to play with, x25 the shared bit, x28 set by the last exception, x18 leaks.

        .arch   armv8-a
        .text
        .globl  _start
_start:
        b       begin
        .balign 8
parameters:
seed:   .quad   0x123456789abcdef
rounds: .quad   1000
shared: .quad   1 << 40
play:   .quad   0x48000000              // 4 MiB of RAM, far from this program
from:   .quad   0                       // part 1: first address,
to:     .quad   0                       // end
others: .quad   0                       // further vCPUs, which take part in part 2 for ever

        .set    OUTBOX, 0x0b000000      // its streams: 2 MiB each, a counter, and at 1 MiB a ring
        .set    DEVICE, 0x0a800000      // virtio-mmio

        .macro  random x
        eor     x19, x19, x19, lsl #13
        eor     x19, x19, x19, lsr #7
        eor     x19, x19, x19, lsl #17
        mov     \x, x19
        .endm

begin:
        adr     x1, vectors
        msr     vbar_el1, x1
        isb
        ldr     x19, seed
        ldr     x20, rounds
        ldr     x24, play
        ldr     x25, shared
        mov     x18, #0
        mov     x21, #0
        mov     x22, #0
        mov     x23, #0

        ldr     x9, others
1:      cbz     x9, 2f
        ldr     x0, =0xc4000003         // CPU_ON
        mov     x1, x9
        adr     x2, another
        mov     x3, x9
        smc     #0
        sub     x9, x9, #1
        b       1b
2:
        mov     x29, #0                 // is part 2 over?
again:  ldr     x2, from
        ldr     x3, to
probe:  cmp     x2, x3
        b.hs    probed
        mov     x28, #0
        ldr     x4, [x2]
        add     x18, x18, #1
        cbz     x28, 1f
        sub     x18, x18, #1            // it was refused
1:      orr     x5, x2, x25
        mov     x28, #0
        str     x4, [x5]
        add     x18, x18, #1
        cbz     x28, 2f
        sub     x18, x18, #1
2:      add     x2, x2, #0x1000
        b       probe

probed: cbnz    x29, done
        b       storm

over:   ldr     x2, rounds              // without part 2 once is enough
        cbz     x2, done
        mov     x29, #1
        b       again

another:
        adr     x1, vectors
        msr     vbar_el1, x1
        isb
        ldr     x19, seed
        add     x19, x19, x0
        mov     x20, #-1
        ldr     x24, play
        ldr     x25, shared

storm:
        cbz     x20, over
        sub     x20, x20, #1
        random  x9
        and     x10, x9, #15
        cmp     x10, #9
        b.lo    call
        b.eq    hyper
        cmp     x10, #12
        b.lo    access
        b.eq    hand_out
        cmp     x10, #14
        b.lo    device
        b.eq    halt
        mrs     x0, hcr_el2             // undefined at EL1
        msr     vttbr_el2, x0
        b       storm

hyper:  mov     x0, x9
        hvc     #0
        b       storm

// A word behind what was handed out, and up to 16 KiB more of it; rarely no possible count.
hand_out:
        random  x9
        and     x10, x9, #3             // the stream
        ldr     x0, =OUTBOX
        add     x0, x0, x10, lsl #21
        orr     x0, x0, x25
        ldr     x1, [x0]
        and     x12, x1, #0xffff8
        add     x12, x12, #0x100000
        ror     x13, x9, #17
        str     x13, [x0, x12]
        ubfx    x11, x9, #2, #14
        add     x1, x1, x11
        ubfx    x10, x9, #20, #14
        cbnz    x10, 1f
        mov     x1, x9
1:      dmb     ish
        str     x1, [x0]
        b       storm

device: bl      argument
        random  x9
        and     x10, x9, #0x1fc
        ldr     x1, =DEVICE
        orr     x1, x1, x25
        str     w0, [x1, x10]
        b       storm

halt:   mov     x0, #1                  // semihosting: SYS_OPEN
        mov     x1, x24
        hlt     #0xf000
        b       storm

call:
        bl      argument
        mov     x1, x0
        bl      argument
        mov     x2, x0
        bl      argument
        mov     x3, x0
        bl      argument
        mov     x4, x0
        random  x9
        and     x10, x9, #3
        lsr     x11, x9, #8
        cbz     x10, anything
        and     x11, x11, #31
        cmp     x10, #3
        b.eq    power
        cmp     x11, #7                 // RSI_IPA_STATE_SET: mostly one that makes sense
        b.ne    1f
        tbnz    x9, #13, 1f
        random  x9
        and     x1, x9, #0x3ff000
        add     x1, x1, x24
        ubfx    x2, x9, #22, #4
        add     x2, x1, x2, lsl #12
        ubfx    x3, x9, #26, #1         // EMPTY or RAM
        ubfx    x4, x9, #27, #1
1:      mov     x0, #0x0190             // RSI
        movk    x0, #0xc400, lsl #16
        add     x0, x0, x11
        smc     #0
        b       storm
anything:
        mov     x0, x9
        smc     #0
        b       storm
power:                                  // PSCI, but nothing that ends the run or waits
        cmp     x11, #1
        b.eq    storm
        cmp     x11, #2
        b.eq    storm
        cmp     x11, #8
        b.eq    storm
        cmp     x11, #9
        b.eq    storm
        mov     x0, #0x84000000
        add     x0, x0, x11
        and     x12, x9, #0x40000000
        orr     x0, x0, x12
        smc     #0
        b       storm

access:
        bl      argument
        random  x9
        and     x10, x9, #7
        adr     x11, accesses
        add     x11, x11, x10, lsl #3
        br      x11
accesses:
        ldr     x1, [x0]
        b       storm
        str     x9, [x0]
        b       storm
        ldrb    w1, [x0]
        b       storm
        strh    w9, [x0]
        b       storm
        ldr     w1, [x0]
        b       storm
        ldp     x1, x2, [x0]
        b       storm
        str     w9, [x0], #4
        b       storm
        ldxr    x1, [x0]
        b       storm

// x0 = an argument or address
argument:
        random  x9
        and     x10, x9, #7
        lsr     x0, x9, #8
        cmp     x10, #1
        b.lo    9f                      // anything
        b.eq    small
        and     x0, x0, #0x3fffff
        add     x0, x0, x24
        cmp     x10, #7
        b.eq    9f                      // in RAM, not aligned
        and     x0, x0, #~0xfff
        cmp     x10, #6
        b.ne    9f
        orr     x0, x0, x25             // in the other half
9:      ret
small:  and     x0, x0, #0xfff
        ret

done:
        ldr     x1, =0x09000000
        orr     x1, x1, x25
        adr     x2, text
1:      ldrb    w3, [x2], #1
        cbz     w3, 2f
        str     w3, [x1]
        b       1b
2:      mov     x4, x18
        bl      hex
        ldr     x4, rounds
        bl      hex
        mov     x4, x21
        bl      hex
        mov     x4, x22
        bl      hex
        mov     x4, x23
        bl      hex
        mov     w3, #10
        str     w3, [x1]
        mov     x0, #0x84000000
        add     x0, x0, #8              // SYSTEM_OFF
        smc     #0
        b       .

hex:    mov     w3, #32
        str     w3, [x1]
        mov     x5, #60
1:      lsr     x3, x4, x5
        and     x3, x3, #15
        cmp     x3, #10
        add     x6, x3, #48
        add     x7, x3, #87
        csel    x3, x6, x7, lo
        str     w3, [x1]
        subs    x5, x5, #4
        b.ge    1b
        ret

text:   .asciz  "\ndone"
        .ltorg

        .balign 2048
vectors:
        .balign 0x200
        .skip   0x200
        // synchronous, from EL1 with SP_EL1
        mrs     x26, esr_el1
        lsr     x27, x26, #26
        mov     x28, #1
        cbz     x27, 3f
        cmp     x27, #0x25
        b.ne    2f
        and     x27, x26, #0x3f
        cmp     x27, #0x10
        b.ne    2f
        add     x21, x21, #1
        b       4f
2:      add     x22, x22, #1
        b       4f
3:      add     x23, x23, #1
4:      mrs     x26, elr_el1
        add     x26, x26, #4
        msr     elr_el1, x26
        eret
        .balign 0x800
