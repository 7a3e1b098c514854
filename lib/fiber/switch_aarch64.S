/* SPDX-License-Identifier: BSD-2-Clause */
/* switch_aarch64: fiber_begin, where each new stack begins, with the fiber in x0. */
	.text

/* Jumps to fiber_main, as if called from fiber_end. It never returns, and a call would leave an
 * entry behind in the CPU's record of calls. */
	.globl	fiber_begin
	.hidden	fiber_begin
	.type	fiber_begin, %function
	.p2align 4
fiber_begin:
	.cfi_startproc
	.cfi_undefined x30
	hint	#36			/* bti j */
	adr	x30, fiber_end
	b	fiber_main
	/* An unwinder looks before the return address, so there must be something. */
	nop
fiber_end:
	brk	#0
	.cfi_endproc
	.size	fiber_begin, . - fiber_begin

	.section .note.GNU-stack, "", %progbits
	.section .note.gnu.property, "a"
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000000, 4, 1	/* BTI */
	.long	0
