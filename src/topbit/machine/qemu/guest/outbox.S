// SPDX-License-Identifier: MIT
//
// The guest's end of the outbox: a Linux program (arm64, static, no libc) that writes to one stream.
//
//   outbox copy ADDRESS            hands out its standard input, to its end
//   outbox tar ADDRESS             hands out plain files, each behind a header of tar's, whose names
//                                  it reads, a line each, to an empty line or the end
//   outbox follow ADDRESS FILE...  hands out what the files have, again and again, each piece behind
//                                  its file's number and its length (two words of 32 bits);
//                                  counts its rounds, so that it is known to live. SIGUSR1 has it
//                                  go on only until the files have no more
//
// ADDRESS (hexadecimal, 0x...) is where the stream's registers stand in physical memory. Exit
// status 1: it cannot be reached, or a read failed. `tar` passes over a file that cannot be opened, or
// whose name is too long for the header. What stands there is told in outbox.py.
//
// x19 the stream, x20 bytes written to it, x21 buffer, x22 mode, x23 names of the files, x24 their
// number, x25 is there more to read at once, x26 descriptors, x29 index of a file.
// x27, x28 source and length of what is put. Of `tar`: x26 a name, x29 its length, x25 the file, x17
// its size, x18 how much of it is left.

        .arch   armv8-a

        .set    BASE, 0x400000
        .set    WRITTEN, 0
        .set    TAKEN, 8
        .set    BEAT, 24
        .set    RING, 0x100000
        .set    RING_SHIFT, 20
        .set    STREAM, 0x200000
        .set    PIECE, 0x10000
        .set    NEARLY_FULL, 3000       // bytes of events on a page of ftrace's

        .set    AT_FDCWD, -100
        .set    O_NONBLOCK, 0x800
        .set    O_RDWR_SYNC, 0x101002
        .set    SEEK_SET, 0
        .set    SEEK_END, 2
        .set    EINTR, 4
        .set    BLOCK, 512              // of tar, and where its header has what
        .set    NAME_END, 100
        .set    SIZE_END, 135
        .set    SUM, 148
        .set    SUM_END, 154
        .set    openat, 56
        .set    close, 57
        .set    lseek, 62
        .set    read, 63
        .set    exit, 93
        .set    nanosleep, 101
        .set    rt_sigprocmask, 135
        .set    rt_sigtimedwait, 137
        .set    setpriority, 140
        .set    mmap, 222

        .macro  call number
        mov     x8, #\number
        svc     #0
        .endm

        .macro  pause time
        adr     x0, \time
        mov     x1, #0
        call    nanosleep
        .endm

        .text
        .globl  _start
elf:    .byte   0x7f, 'E', 'L', 'F', 2, 1, 1, 0
        .quad   0
        .hword  2, 183                  // ET_EXEC, EM_AARCH64
        .word   1
        .quad   BASE + _start - elf, headers - elf, 0
        .word   0
        .hword  64, 56, 1, 0, 0, 0
headers:
        .word   1, 5                    // PT_LOAD, readable and executable
        .quad   0, BASE, BASE, end - elf, end - elf, 0x10000

_start:
        ldr     x24, [sp]
        subs    x24, x24, #3
        b.lo    failed
        ldr     x1, [sp, #16]
        ldrb    w22, [x1]
        ldr     x1, [sp, #24]
        add     x23, sp, #32

        mov     x5, #0                  // ADDRESS
        add     x1, x1, #2
1:      ldrb    w3, [x1], #1
        cbz     w3, 3f
        sub     w3, w3, #'0'
        cmp     w3, #9
        b.ls    2f
        sub     w3, w3, #'a' - '0' - 10
2:      add     x5, x3, x5, lsl #4
        b       1b
3:
        mov     x0, #AT_FDCWD
        adr     x1, memory
        mov     x2, #O_RDWR_SYNC & 0xffff
        movk    x2, #O_RDWR_SYNC >> 16, lsl #16
        call    openat
        tbnz    x0, #63, failed
        mov     x4, x0
        mov     x0, #0
        mov     x1, #STREAM
        mov     x2, #3                  // PROT_READ | PROT_WRITE
        mov     x3, #1                  // MAP_SHARED
        call    mmap
        cmn     x0, #4095
        b.hs    failed
        mov     x19, x0

        sub     sp, sp, #0x12, lsl #12
        mov     x21, sp
        add     x26, sp, #0x11, lsl #12
        cmp     w22, #'f'
        b.eq    follow
        cmp     w22, #'t'
        b.eq    tar

copy:
        ldr     x20, [x19, #WRITTEN]    // where the stream's last writer stopped
1:      and     x1, x20, #7             // so that source and ring are aligned alike
        add     x27, x21, x1
        mov     x0, #0
        mov     x1, x27
        mov     x2, #PIECE
        call    read
        cmn     x0, #EINTR
        b.eq    1b
        cbz     x0, done
        tbnz    x0, #63, failed
        mov     x28, x0
        bl      put
        b       1b

tar:
        bl      hurry
1:      mov     x29, #0
9:      mov     x0, #0
        add     x1, x26, x29
        mov     x2, #1
        call    read
        cmn     x0, #EINTR
        b.eq    9b
        cbz     x0, done
        tbnz    x0, #63, failed
        ldrb    w1, [x26, x29]
        cmp     w1, #'\n'
        b.eq    2f
        cmp     x29, #NAME_END          // what is longer is too long anyway
        cinc    x29, x29, lo
        b       9b
2:      cbz     x29, done
        strb    wzr, [x26, x29]
        cmp     x29, #NAME_END
        b.hs    1b
        mov     x0, #AT_FDCWD
        mov     x1, x26
        mov     x2, #0                  // O_RDONLY
        call    openat
        tbnz    x0, #63, 1b
        mov     x25, x0
        ldr     x20, [x19, #WRITTEN]    // another may have written meanwhile
        mov     x1, #0
        mov     x2, #SEEK_END
        call    lseek
        tbnz    x0, #63, 8f
        mov     x17, x0
        mov     x18, x0
        mov     x0, x25
        mov     x1, #0
        mov     x2, #SEEK_SET
        call    lseek

        bl      zeros                   // the header: name, size and sum, of which all else is 0
        mov     x1, x26
        mov     x2, x27
3:      ldrb    w4, [x1], #1
        strb    w4, [x2], #1
        cbnz    w4, 3b
        add     x1, x27, #SIZE_END
        mov     x2, x17
        mov     x3, #11
        bl      octal
        mov     x2, #8 * ' '            // which the sum is taken to be
        mov     x3, #BLOCK
4:      sub     x3, x3, #1
        ldrb    w4, [x27, x3]
        add     x2, x2, x4
        cbnz    x3, 4b
        add     x1, x27, #SUM_END
        mov     x3, #6
        bl      octal
        bl      put

5:      cbz     x18, 7f
        bl      zeros                   // of which a block stands for what is no longer there
        mov     x0, x25
        mov     x1, x27
        mov     x2, #PIECE
        cmp     x2, x18
        csel    x2, x2, x18, ls
        call    read
        cmn     x0, #EINTR
        b.eq    5b
        cmp     x0, #0
        b.gt    6f
        cmp     x28, x18
        csel    x28, x28, x18, ls
        mov     x0, x28
6:      mov     x28, x0
        sub     x18, x18, x0
        bl      put
        b       5b
7:      bl      zeros
        neg     x28, x17
        ands    x28, x28, #BLOCK - 1
        b.eq    8f
        bl      put
8:      mov     x0, x25
        call    close
        b       1b

// x27, x28: a block of zeros, to be put
zeros:
        and     x1, x20, #7
        add     x27, x21, x1
        mov     x28, #BLOCK
        mov     x2, x28
1:      sub     x2, x2, #8
        str     xzr, [x27, x2]
        cbnz    x2, 1b
        ret

// the number x2 as x3 octal digits that end before x1
octal:
        and     w4, w2, #7
        add     w4, w4, #'0'
        lsr     x2, x2, #3
        strb    w4, [x1, #-1]!
        subs    x3, x3, #1
        b.ne    octal
        ret

// what is not handed out in time is lost: before all others
hurry:
        mov     x0, #0                  // PRIO_PROCESS
        mov     x1, #0
        mov     x2, #-19
        call    setpriority
        ret

follow:
        bl      hurry
        mov     x0, #0                  // SIG_BLOCK: it is waited for
        adr     x1, signal
        mov     x2, #0
        mov     x3, #8
        call    rt_sigprocmask
        mov     x18, #0
        ldr     x20, [x19, #WRITTEN]
        mov     x29, #0
1:      cmp     x29, x24
        b.hs    round
        mov     x0, #AT_FDCWD
        ldr     x1, [x23, x29, lsl #3]
        mov     x2, #O_NONBLOCK
        call    openat
        str     w0, [x26, x29, lsl #2]
        add     x29, x29, #1
        b       1b

round:
        ldr     x4, [x19, #BEAT]
        add     x4, x4, #1
        str     x4, [x19, #BEAT]
        mov     x25, #0
        mov     x29, #0
2:      cmp     x29, x24
        b.hs    4f
        ldr     w0, [x26, x29, lsl #2]
        tbnz    w0, #31, 3f
        add     x1, x21, #8
        mov     x2, #PIECE
        call    read
        cmp     x0, #0
        b.le    3f                      // nothing now
        stp     w29, w0, [x21]
        add     x28, x0, #15
        and     x28, x28, #~7
        mov     x27, x21
        // A page that is not nearly full was read while events come: to read on at once would give
        // a page for each of them.
        ldr     w1, [x21, #16]          // buffer_data_page.commit, behind its time stamp
        and     w1, w1, #0xfffff
        mov     w2, #NEARLY_FULL
        cmp     w1, w2
        cset    x1, hs
        orr     x25, x25, x1
        orr     x25, x25, x18           // when it is to stop: to the last event
        bl      put
3:      add     x29, x29, #1
        b       2b
4:      cbnz    x25, round
        cbnz    x18, done
        adr     x0, signal
        mov     x1, #0
        adr     x2, between
        mov     x3, #8
        call    rt_sigtimedwait
        cmp     x0, #0
        cset    x18, gt                 // before the files are read: what comes later is not theirs
        b       round

// put x28 bytes at x27 into the ring, aligned to 8 bytes as x20 is
put:
        ldr     x1, [x19, #TAKEN]
        sub     x2, x20, x1
        mov     x3, #RING
        subs    x3, x3, x2
        b.gt    1f
        pause   moment
        b       put
1:      and     x5, x20, #RING - 1
        mov     x4, #RING
        sub     x4, x4, x5
        cmp     x4, x3
        csel    x4, x3, x4, hi
        cmp     x4, x28
        csel    x4, x28, x4, hi
        add     x20, x20, x4
        sub     x28, x28, x4
        add     x5, x5, x19
        add     x5, x5, #RING
2:      cmp     x4, #8
        b.lo    4f
        tst     x5, #7
        b.ne    4f
3:      ldr     x6, [x27], #8
        str     x6, [x5], #8
        sub     x4, x4, #8
        cmp     x4, #8
        b.hs    3b
        cbz     x4, 5f
4:      ldrb    w6, [x27], #1
        strb    w6, [x5], #1
        subs    x4, x4, #1
        b.ne    2b
5:      dmb     ish
        str     x20, [x19, #WRITTEN]
        cbnz    x28, put
        ret

failed: mov     x0, #1
        call    exit
done:   mov     x0, #0
        call    exit

memory: .asciz  "/dev/mem"
        .balign 8
signal: .quad   1 << (10 - 1)           // SIGUSR1
between:
        .quad   0, 40000000             // 40 ms
moment: .quad   0, 1000000              // 1 ms
end:
