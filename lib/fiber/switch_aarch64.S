/* SPDX-License-Identifier: BSD-2-Clause */
/* switch for aarch64, AAPCS64: x19..x30 and the low halves of v8..v15. */
	.text

/* void fiber_switch(void **save, void *to)
 *
 * Leaves by ret, although the return predictor will be wrong: with BTI a br may only reach a
 * landing pad, and the place where the other stack goes on has none. */
	.globl	fiber_switch
	.hidden	fiber_switch
	.type	fiber_switch, %function
	.p2align 4
fiber_switch:
	.cfi_startproc
	hint	#34			/* bti c */
	sub	sp, sp, #160
	.cfi_adjust_cfa_offset 160
	stp	x19, x20, [sp, #0]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	.cfi_rel_offset x29, 80
	.cfi_rel_offset x30, 88
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	mov	x9, sp
	str	x9, [x0]
	mov	sp, x1
	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	add	sp, sp, #160
	.cfi_adjust_cfa_offset -160
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	fiber_switch, . - fiber_switch

/* Where a new stack begins: x19 = f, x20 = entry. Unwinding ends here. */
	.type	fiber_begin, %function
	.p2align 4
fiber_begin:
	.cfi_startproc
	.cfi_undefined x30
	hint	#36			/* bti j */
	mov	x0, x19
	mov	x29, #0
	mov	x30, #0
	blr	x20
	brk	#0
	.cfi_endproc
	.size	fiber_begin, . - fiber_begin

/* void *fiber_prepare(void *top, void (*entry)(struct fiber *), struct fiber *f) */
	.globl	fiber_prepare
	.hidden	fiber_prepare
	.type	fiber_prepare, %function
	.p2align 4
fiber_prepare:
	.cfi_startproc
	hint	#34
	and	x0, x0, #-16
	sub	x0, x0, #160
	stp	x2, x1, [x0, #0]
	adr	x9, fiber_begin
	stp	xzr, x9, [x0, #80]
	ret
	.cfi_endproc
	.size	fiber_prepare, . - fiber_prepare

	.section .note.GNU-stack, "", %progbits
	.section .note.gnu.property, "a"
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000000, 4, 1	/* BTI */
	.long	0
