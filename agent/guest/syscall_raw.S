/*
 * int64_t pv_syscall_raw(const int64_t words[7], const int *stop, long ends_child)
 *
 * Issues one system call (System V AMD64 ABI, appendix A.2.1) and returns what the kernel returned.
 * From pv_syscall_raw_begin to pv_syscall_raw_end the signal handler of agent/guest/syscall.c may
 * move a thread to pv_syscall_raw_stop: it has not entered the kernel yet, or is to enter it again,
 * and must not. With `ends_child` a second return, with 0, is that of a child which shares this
 * code or even this stack: it ends before it touches either.
 */
	.text
	.globl	pv_syscall_raw, pv_syscall_raw_begin, pv_syscall_raw_end, pv_syscall_raw_stop
	.type	pv_syscall_raw, @function
pv_syscall_raw:
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %r12
	movq	%rdx, %rbx
	movq	%rsi, %r11
	movq	0(%r12), %rax
	movq	8(%r12), %rdi
	movq	16(%r12), %rsi
	movq	24(%r12), %rdx
	movq	32(%r12), %r10
	movq	40(%r12), %r8
	movq	48(%r12), %r9
pv_syscall_raw_begin:
	cmpl	$0, (%r11)
	jne	pv_syscall_raw_stop
	syscall
pv_syscall_raw_end:
	testq	%rax, %rax
	jnz	1f
	testq	%rbx, %rbx
	jz	1f
	movl	$60, %eax	/* exit */
	xorl	%edi, %edi
	syscall
1:
	popq	%r12
	popq	%rbx
	ret
pv_syscall_raw_stop:
	movq	$-4, %rax	/* EINTR */
	jmp	1b
	.size	pv_syscall_raw, . - pv_syscall_raw
	.section .note.GNU-stack, "", @progbits
