/*
 * Console device (virtio 1.2, section 5.3) with one port and no multiport: hvc0 in a Linux guest. What the guest prints goes to a callback at
 * once; what the test types waits here until the guest gives buffers. Under the loop lock.
 */
#ifndef PV_VIRTIO_CONSOLE_H
#define PV_VIRTIO_CONSOLE_H

#include <stddef.h>

#include "base/bytes.h"
#include "virtio/device.h"

/* Bytes typed but not yet taken by the guest; more is refused. */
#define PV_CONSOLE_INPUT_MAX 65536

struct pv_console {
	struct pv_virtio virtio;
	void (*output)(void *ctx, const void *data, size_t len);
	void *output_ctx;
	struct pv_bytes input;
	bool refused; /* more was typed than there was room for */
	/* After input was refused: there is room for half of it again. NULL: nobody asks. */
	void (*room)(void *ctx);
	void *room_ctx;
};

void pv_console_init(struct pv_console *console, const struct pv_gmem *mem,
    void (*output)(void *ctx, const void *data, size_t len), void *ctx);
void pv_console_finish(struct pv_console *console);

/* Types `len` bytes; returns how many were taken (fewer when the buffer is full). */
size_t pv_console_input(struct pv_console *console, const void *data, size_t len);

#endif
