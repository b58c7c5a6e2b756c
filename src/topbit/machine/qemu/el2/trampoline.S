// SPDX-License-Identifier: MIT
//
// The EL2 program: it hands each trap of a lower exception level to Python and carries out the
// answer. It decides nothing. What the operations mean is written in mailbox.py, which holds the
// same numbers.
//
// Life of a trap: the vector saves the registers in the vCPU's mailbox (SP_EL2 always points at
// it), raises `seq`, writes one word to the doorbell device, waits until `ack` equals `seq`,
// carries out the operations from OPS on, loads the registers from the mailbox, and returns with
// ERET. A vCPU that starts (reset, or PSCI CPU_ON with this program as its entry) posts START.
//
// Position-independent; loaded at a multiple of 2 KiB. Runs with the EL2 MMU off.

        .arch   armv8-a
        .set    MAILBOXES, 0x10000      // from the load address to vCPU 0's mailbox
        .set    MAILBOX_SHIFT, 13       // 8 KiB each
        .set    X0, 0x000               // x0..x30
        .set    ELR, 0x0f8
        .set    SPSR, 0x100
        .set    ESR, 0x108
        .set    FAR, 0x110
        .set    HPFAR, 0x118
        .set    MPIDR, 0x120
        .set    REASON, 0x128           // vector 0..15, or:
        .set    REASON_START, 16
        .set    REASON_YIELD, 17
        .set    SEQ, 0x130
        .set    ACK, 0x138
        .set    BELL_ADDRESS, 0x140
        .set    BELL_VALUE, 0x148
        .set    VBAR_EL1, 0x150         // of the guest, at the trap
        .set    SCTLR_EL1, 0x158
        .set    EL1_STATE, 0x160        // ELR, SPSR, ESR, FAR for the operation that sets them
        .set    OPS, 0x400              // {operation, a, b}, 8 bytes each; operation 0 ends
        .set    EXEC_PAGE, 0x1000       // the second page: an instruction and a RET

        .text
        .globl  _start
_start:
        msr     spsel, #1
        adr     x1, vectors
        msr     vbar_el2, x1
        adr     x1, _start
        add     x1, x1, #MAILBOXES
        mrs     x2, mpidr_el1
        and     x3, x2, #0xf            // Aff0: the vCPU in its cluster of 16
        ubfx    x4, x2, #8, #8          // Aff1: the cluster
        add     x3, x3, x4, lsl #4
        add     x1, x1, x3, lsl #MAILBOX_SHIFT
        mov     sp, x1
        str     x0, [sp, #X0]           // CPU_ON's context
        isb
        mov     x0, #REASON_START
        b       post

// x0 = reason; x1.. are free, the caller has saved what matters.
post:
        str     x0, [sp, #REASON]
        mrs     x1, mpidr_el1
        str     x1, [sp, #MPIDR]
        ldr     x3, [sp, #SEQ]
        add     x3, x3, #1
        dsb     sy
        add     x1, sp, #SEQ
        stlr    x3, [x1]
        dsb     sy
        ldr     x1, [sp, #BELL_ADDRESS]
        ldr     x2, [sp, #BELL_VALUE]
        str     w2, [x1]
        add     x1, sp, #ACK
wait:
        ldar    x2, [x1]
        cmp     x2, x3
        b.ne    wait
        dsb     sy
        add     x19, sp, #OPS

next:
        ldp     x4, x5, [x19]           // operation, a
        ldr     x6, [x19, #16]          // b
        add     x20, x19, #16           // where the result goes
        add     x19, x19, #24
        cbz     x4, leave
        cmp     x4, #1
        b.eq    op_w32
        cmp     x4, #2
        b.eq    op_w64
        cmp     x4, #3
        b.eq    op_r32
        cmp     x4, #4
        b.eq    op_r64
        cmp     x4, #5
        b.eq    op_tlbi_all
        cmp     x4, #6
        b.eq    op_tlbi_ipa
        cmp     x4, #7
        b.eq    op_smc
        cmp     x4, #8
        b.eq    op_exec
        cmp     x4, #9
        b.eq    op_set_el1
        mov     x0, #REASON_YIELD       // 10; an unknown operation is handed back as well
        b       post

op_w32: str     w6, [x5]
        dsb     sy
        b       next
op_w64: str     x6, [x5]
        dsb     sy
        b       next
op_r32: ldr     w6, [x5]
        str     x6, [x20]
        b       next
op_r64: ldr     x6, [x5]
        str     x6, [x20]
        b       next

// Forget every translation of this VMID, stages 1 and 2.
op_tlbi_all:
        dsb     ish
        tlbi    vmalls12e1is
        dsb     ish
        isb
        b       next

// Forget b pages from IPA a << 12; stage 1 too, whose entries may hold combined translations.
op_tlbi_ipa:
        dsb     ish
1:      cbz     x6, 2f
        tlbi    ipas2e1is, x5
        add     x5, x5, #1
        sub     x6, x6, #1
        b       1b
2:      dsb     ish
        tlbi    vmalle1is
        dsb     ish
        isb
        b       next

// A call to the firmware (QEMU's PSCI), with x0..x3 of the mailbox.
op_smc:
        ldp     x0, x1, [sp, #X0]
        ldp     x2, x3, [sp, #X0 + 16]
        smc     #0
        stp     x0, x1, [sp, #X0]
        stp     x2, x3, [sp, #X0 + 16]
        b       next

// One A64 instruction `a` with x0 = b; the x0 that it leaves is the result.
op_exec:
        add     x1, sp, #EXEC_PAGE
        ldr     w2, =0xd65f03c0         // RET
        stp     w5, w2, [x1]
        dc      cvau, x1
        dsb     ish
        ic      ivau, x1
        dsb     ish
        isb
        mov     x0, x6
        blr     x1
        str     x0, [x20]
        isb
        b       next

// What EL1 sees of an exception that it takes.
op_set_el1:
        ldp     x0, x1, [sp, #EL1_STATE]
        ldp     x2, x3, [sp, #EL1_STATE + 16]
        msr     elr_el1, x0
        msr     spsr_el1, x1
        msr     esr_el1, x2
        msr     far_el1, x3
        b       next

leave:
        ldr     x0, [sp, #ELR]
        msr     elr_el2, x0
        ldr     x0, [sp, #SPSR]
        msr     spsr_el2, x0
        ldp     x2, x3, [sp, #X0 + 16]
        ldp     x4, x5, [sp, #X0 + 32]
        ldp     x6, x7, [sp, #X0 + 48]
        ldp     x8, x9, [sp, #X0 + 64]
        ldp     x10, x11, [sp, #X0 + 80]
        ldp     x12, x13, [sp, #X0 + 96]
        ldp     x14, x15, [sp, #X0 + 112]
        ldp     x16, x17, [sp, #X0 + 128]
        ldp     x18, x19, [sp, #X0 + 144]
        ldp     x20, x21, [sp, #X0 + 160]
        ldp     x22, x23, [sp, #X0 + 176]
        ldp     x24, x25, [sp, #X0 + 192]
        ldp     x26, x27, [sp, #X0 + 208]
        ldp     x28, x29, [sp, #X0 + 224]
        ldr     x30, [sp, #X0 + 240]
        ldp     x0, x1, [sp, #X0]
        eret

// x0, x1 are saved, x0 = vector.
trap:
        stp     x2, x3, [sp, #X0 + 16]
        stp     x4, x5, [sp, #X0 + 32]
        stp     x6, x7, [sp, #X0 + 48]
        stp     x8, x9, [sp, #X0 + 64]
        stp     x10, x11, [sp, #X0 + 80]
        stp     x12, x13, [sp, #X0 + 96]
        stp     x14, x15, [sp, #X0 + 112]
        stp     x16, x17, [sp, #X0 + 128]
        stp     x18, x19, [sp, #X0 + 144]
        stp     x20, x21, [sp, #X0 + 160]
        stp     x22, x23, [sp, #X0 + 176]
        stp     x24, x25, [sp, #X0 + 192]
        stp     x26, x27, [sp, #X0 + 208]
        stp     x28, x29, [sp, #X0 + 224]
        str     x30, [sp, #X0 + 240]
        mrs     x1, elr_el2
        str     x1, [sp, #ELR]
        mrs     x1, spsr_el2
        str     x1, [sp, #SPSR]
        mrs     x1, esr_el2
        str     x1, [sp, #ESR]
        mrs     x1, far_el2
        str     x1, [sp, #FAR]
        mrs     x1, hpfar_el2
        str     x1, [sp, #HPFAR]
        mrs     x1, vbar_el1
        str     x1, [sp, #VBAR_EL1]
        mrs     x1, sctlr_el1
        str     x1, [sp, #SCTLR_EL1]
        b       post

        .ltorg
        .balign 2048
vectors:
        .set    vector, 0
        .rept   16
        .balign 128
        stp     x0, x1, [sp, #X0]
        mov     x0, #vector
        b       trap
        .set    vector, vector + 1
        .endr
        .balign 128
