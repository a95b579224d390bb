/* The program of the guest agent as constant bytes; image.c gives them out. PV_AGENT_FILE is the file that the build made. */
	.section .rodata
	.balign 16
	.globl pv_agent_image_begin
	.hidden pv_agent_image_begin
pv_agent_image_begin:
	.incbin PV_AGENT_FILE
	.globl pv_agent_image_end
	.hidden pv_agent_image_end
pv_agent_image_end:
	.byte 0
	.section .note.GNU-stack, "", %progbits
