/* SPDX-License-Identifier: BSD-2-Clause */
/* switch for x86-64, System V ABI: rbx, rbp, r12..r15 and the return address. */
	.text

/* void fiber_switch(void **save, void *to)
 *
 * Leaves by jmp, not by ret: the CPU's return stack predicts the caller of this switch, and that
 * is never where the other stack goes on. notrack: a return address has no landing pad. */
	.globl	fiber_switch
	.hidden	fiber_switch
	.type	fiber_switch, @function
	.p2align 4
fiber_switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r15, 0
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rcx
	notrack jmp *%rcx
	.cfi_endproc
	.size	fiber_switch, . - fiber_switch

/* Where a new stack begins: r12 = f, r13 = entry. Unwinding ends here. */
	.type	fiber_begin, @function
	.p2align 4
fiber_begin:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	movq	%r12, %rdi
	xorl	%ebp, %ebp
	call	*%r13
	ud2
	.cfi_endproc
	.size	fiber_begin, . - fiber_begin

/* void *fiber_prepare(void *top, void (*entry)(struct fiber *), struct fiber *f) */
	.globl	fiber_prepare
	.hidden	fiber_prepare
	.type	fiber_prepare, @function
	.p2align 4
fiber_prepare:
	.cfi_startproc
	endbr64
	andq	$-16, %rdi
	leaq	fiber_begin(%rip), %rax
	movq	%rax, -8(%rdi)
	movq	$0, -16(%rdi)		/* rbp */
	movq	$0, -24(%rdi)		/* rbx */
	movq	%rdx, -32(%rdi)		/* r12 */
	movq	%rsi, -40(%rdi)		/* r13 */
	movq	$0, -48(%rdi)		/* r14 */
	movq	$0, -56(%rdi)		/* r15 */
	leaq	-56(%rdi), %rax
	ret
	.cfi_endproc
	.size	fiber_prepare, . - fiber_prepare

	.section .note.GNU-stack, "", @progbits
	/* x86 features: IBT. The shadow stack is not claimed: stacks change under it. */
	.section .note.gnu.property, "a"
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 1
	.long	0
