/*
 * A 16550A UART at one set of eight ports: ttyS0 in a Linux guest. What the guest sends goes to a
 * callback at once. Under the loop lock.
 */
#ifndef PV_VMM_SERIAL_H
#define PV_VMM_SERIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bus.h"
#include "base/bytes.h"
#include "base/irq.h"

struct pv_err;
struct pv_pack;
struct pv_val;

#define PV_SERIAL_PORTS 8
#define PV_SERIAL_FIFO	16
/* Bytes typed but not yet in the receive FIFO; more is refused. */
#define PV_SERIAL_INPUT_MAX 65536

struct pv_serial {
	struct pv_irq_line irq;
	void (*output)(void *ctx, const void *data, size_t len);
	void *output_ctx;

	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t scratch;
	uint8_t lsr_errors;
	uint16_t divisor;
	bool thr_pending; /* "transmitter empty" was not yet told */
	bool irq_level;
	bool opened; /* a driver enabled receive interrupts since the reset */
	uint8_t fifo[PV_SERIAL_FIFO];
	unsigned fifo_head;
	unsigned fifo_count;
	struct pv_bytes input;
	bool refused; /* more was typed than there was room for */
	/* After input was refused: there is room for half of it again. NULL: nobody asks. */
	void (*room)(void *ctx);
	void *room_ctx;
};

/* Offsets 0 to 7; ctx = struct pv_serial *. */
extern const struct pv_bus_ops pv_serial_ops;

void pv_serial_init(struct pv_serial *serial, struct pv_irq_line irq,
    void (*output)(void *ctx, const void *data, size_t len), void *ctx);
void pv_serial_finish(struct pv_serial *serial);

/* Power-on state; typed input is dropped. */
void pv_serial_reset(struct pv_serial *serial);

/*
 * The whole state with what was typed and not read yet, as one msgpack value. Loading leaves the
 * interrupt wire alone (vmm/gsi.h has its level). Returns 0, -EBADMSG or -ENOMEM.
 */
void pv_serial_save(const struct pv_serial *serial, struct pv_pack *pack);
int pv_serial_load(struct pv_serial *serial, const struct pv_val *val, struct pv_err *err);

/*
 * Types `len` bytes; returns how many were taken. They wait here until a driver has opened the
 * port, since its start clears the FIFO.
 */
size_t pv_serial_input(struct pv_serial *serial, const void *data, size_t len);

/* True while a driver listens for input. */
bool pv_serial_is_open(const struct pv_serial *serial);

#endif
