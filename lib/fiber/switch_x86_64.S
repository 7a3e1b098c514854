/* SPDX-License-Identifier: BSD-2-Clause */
/* switch_x86_64: fiber_begin, where each new stack begins, with the fiber in %rdi. */
	.text

/* Jumps to fiber_main, as if called from fiber_end. It never returns, and a call would leave an
 * entry behind in the CPU's record of calls. */
	.globl	fiber_begin
	.hidden	fiber_begin
	.type	fiber_begin, @function
	.p2align 4
fiber_begin:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	leaq	fiber_end(%rip), %rax
	pushq	%rax
	jmp	fiber_main
	/* An unwinder looks one byte before the return address, so there must be one. */
	nop
fiber_end:
	ud2
	.cfi_endproc
	.size	fiber_begin, . - fiber_begin

	.section .note.GNU-stack, "", @progbits
	/* x86 features: IBT. The shadow stack is not claimed: stacks change under it. */
	.section .note.gnu.property, "a"
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 1
	.long	0
