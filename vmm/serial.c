/*
 * 16550A UART, after the National Semiconductor PC16550D data sheet, as complete as Linux' 8250
 * driver and its autoconfig need: FIFOs, loopback, divisor latch, scratch, interrupts by priority.
 *
 * The line is infinitely fast: a byte written to THR has left when the write returns, so the
 * transmitter is always empty and its interrupt follows at once. Received bytes come from `input`
 * through a FIFO of 16 (of 1 with FIFOs off), so the guest sees overruns never. A FIFO that holds
 * less than its trigger level reports "character timeout" at once.
 *
 * Runs under the loop lock: port accesses on vCPU threads, typing on any.
 */
#include "vmm/serial.h"

#include <string.h>

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"

enum {
	RBR_THR_DLL = 0,
	IER_DLM = 1,
	IIR_FCR = 2,
	LCR = 3,
	MCR = 4,
	LSR = 5,
	MSR = 6,
	SCR = 7,
};

#define IER_RDI	 0x01u
#define IER_THRI 0x02u
#define IER_RLSI 0x04u
#define IER_MSI	 0x08u
#define IER_MASK 0x0fu

#define IIR_NONE    0x01u
#define IIR_THRI    0x02u
#define IIR_RDI	    0x04u
#define IIR_RLSI    0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFO    0xc0u

#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_TRIGGER  0xc0u

#define LCR_DLAB 0x80u

#define MCR_DTR	 0x01u
#define MCR_RTS	 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_MASK 0x1fu

#define LSR_DR	 0x01u
#define LSR_OE	 0x02u
#define LSR_THRE 0x20u
#define LSR_TEMT 0x40u

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI	0x40u
#define MSR_DCD 0x80u

#define DIVISOR_9600 12

static unsigned fifo_size(const struct pv_serial *serial)
{
	return serial->fcr & FCR_ENABLE ? PV_SERIAL_FIFO : 1;
}

static unsigned trigger_level(const struct pv_serial *serial)
{
	static const unsigned levels[] = {1, 4, 8, 14};
	return serial->fcr & FCR_ENABLE ? levels[(serial->fcr & FCR_TRIGGER) >> 6] : 1;
}

/* The pending interrupt of highest priority (data sheet, table III). */
static uint8_t pending(const struct pv_serial *serial)
{
	if ((serial->ier & IER_RLSI) && serial->lsr_errors)
		return IIR_RLSI;
	if ((serial->ier & IER_RDI) && serial->fifo_count > 0)
		return serial->fifo_count >= trigger_level(serial) ? IIR_RDI : IIR_TIMEOUT;
	if ((serial->ier & IER_THRI) && serial->thr_pending)
		return IIR_THRI;
	return IIR_NONE;
}

static void update_irq(struct pv_serial *serial)
{
	/* OUT2 gates the interrupt on a PC, and loopback disconnects it. */
	bool level =
	    pending(serial) != IIR_NONE && (serial->mcr & MCR_OUT2) && !(serial->mcr & MCR_LOOP);
	if (level == serial->irq_level)
		return;
	serial->irq_level = level;
	if (serial->irq.set)
		serial->irq.set(serial->irq.ctx, level);
}

static void fifo_push(struct pv_serial *serial, uint8_t byte)
{
	if (serial->fifo_count >= fifo_size(serial)) {
		serial->lsr_errors |= LSR_OE;
		return;
	}
	serial->fifo[(serial->fifo_head + serial->fifo_count) % PV_SERIAL_FIFO] = byte;
	serial->fifo_count++;
}

/* Moves typed bytes to where the guest sees them. */
static void refill(struct pv_serial *serial)
{
	if (!serial->opened || (serial->mcr & MCR_LOOP))
		return;
	size_t moved = 0;
	while (moved < serial->input.len && serial->fifo_count < fifo_size(serial))
		fifo_push(serial, serial->input.data[moved++]);
	pv_bytes_consume(&serial->input, moved);
	if (serial->refused && serial->input.len <= PV_SERIAL_INPUT_MAX / 2) {
		serial->refused = false;
		if (serial->room)
			serial->room(serial->room_ctx);
	}
}

static uint8_t read_rbr(struct pv_serial *serial)
{
	uint8_t byte = 0;
	if (serial->fifo_count > 0) {
		byte = serial->fifo[serial->fifo_head];
		serial->fifo_head = (serial->fifo_head + 1) % PV_SERIAL_FIFO;
		serial->fifo_count--;
	}
	refill(serial);
	return byte;
}

static uint8_t read_iir(struct pv_serial *serial)
{
	uint8_t cause = pending(serial);
	if (cause == IIR_THRI)
		serial->thr_pending = false;
	return cause | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct pv_serial *serial)
{
	uint8_t value = LSR_THRE | LSR_TEMT | serial->lsr_errors;
	serial->lsr_errors = 0;
	return serial->fifo_count > 0 ? value | LSR_DR : value;
}

/* In loopback the modem outputs are the modem inputs, else a peer is there and ready. */
static uint8_t read_msr(const struct pv_serial *serial)
{
	if (!(serial->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	uint8_t value = 0;
	if (serial->mcr & MCR_DTR)
		value |= MSR_DSR;
	if (serial->mcr & MCR_RTS)
		value |= MSR_CTS;
	if (serial->mcr & MCR_OUT1)
		value |= MSR_RI;
	if (serial->mcr & MCR_OUT2)
		value |= MSR_DCD;
	return value;
}

static uint8_t read_register(struct pv_serial *serial, uint64_t offset)
{
	const bool latch = serial->lcr & LCR_DLAB;
	switch (offset) {
	case RBR_THR_DLL: return latch ? (uint8_t)serial->divisor : read_rbr(serial);
	case IER_DLM: return latch ? (uint8_t)(serial->divisor >> 8) : serial->ier;
	case IIR_FCR: return read_iir(serial);
	case LCR: return serial->lcr;
	case MCR: return serial->mcr;
	case LSR: return read_lsr(serial);
	case MSR: return read_msr(serial);
	default: return serial->scratch;
	}
}

static void write_thr(struct pv_serial *serial, uint8_t byte)
{
	if (serial->mcr & MCR_LOOP)
		fifo_push(serial, byte);
	else
		serial->output(serial->output_ctx, &byte, 1);
	serial->thr_pending = true;
}

static void write_ier(struct pv_serial *serial, uint8_t value)
{
	/* Enabling the transmitter interrupt while it is empty raises it (data sheet, 8.6.1). */
	if ((value & IER_THRI) && !(serial->ier & IER_THRI))
		serial->thr_pending = true;
	serial->ier = value & IER_MASK;
	if (serial->ier & IER_RDI)
		serial->opened = true;
	refill(serial);
}

static void write_fcr(struct pv_serial *serial, uint8_t value)
{
	/* Switching the FIFOs on or off empties them. */
	if ((value & FCR_CLEAR_RX) || ((value ^ serial->fcr) & FCR_ENABLE))
		serial->fifo_count = 0;
	serial->fcr = value & (FCR_ENABLE | FCR_TRIGGER);
	refill(serial);
}

static void write_register(struct pv_serial *serial, uint64_t offset, uint8_t value)
{
	const bool latch = serial->lcr & LCR_DLAB;
	switch (offset) {
	case RBR_THR_DLL:
		if (latch)
			serial->divisor = (serial->divisor & 0xff00u) | value;
		else
			write_thr(serial, value);
		break;
	case IER_DLM:
		if (latch)
			serial->divisor = (uint16_t)((serial->divisor & 0xffu) | value << 8);
		else
			write_ier(serial, value);
		break;
	case IIR_FCR: write_fcr(serial, value); break;
	case LCR: serial->lcr = value; break;
	case MCR:
		serial->mcr = value & MCR_MASK;
		refill(serial);
		break;
	case SCR: serial->scratch = value; break;
	default: /* LSR and MSR are read-only */ break;
	}
}

static void read_ports(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct pv_serial *serial = ctx;
	uint8_t *bytes = data;
	for (unsigned i = 0; i < len; i++)
		bytes[i] = read_register(serial, offset + i);
	update_irq(serial);
}

static void write_ports(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct pv_serial *serial = ctx;
	const uint8_t *bytes = data;
	for (unsigned i = 0; i < len; i++)
		write_register(serial, offset + i, bytes[i]);
	update_irq(serial);
}

const struct pv_bus_ops pv_serial_ops = {.read = read_ports, .write = write_ports};

void pv_serial_init(struct pv_serial *serial, struct pv_irq_line irq,
    void (*output)(void *ctx, const void *data, size_t len), void *ctx)
{
	*serial = (struct pv_serial){.irq = irq, .output = output, .output_ctx = ctx};
	pv_serial_reset(serial);
}

void pv_serial_finish(struct pv_serial *serial)
{
	if (serial)
		pv_bytes_finish(&serial->input);
}

void pv_serial_reset(struct pv_serial *serial)
{
	serial->ier = 0;
	serial->fcr = 0;
	serial->lcr = 0;
	serial->mcr = 0;
	serial->scratch = 0;
	serial->lsr_errors = 0;
	serial->divisor = DIVISOR_9600;
	serial->thr_pending = false;
	serial->opened = false;
	serial->fifo_head = 0;
	serial->fifo_count = 0;
	pv_bytes_consume(&serial->input, serial->input.len);
	update_irq(serial);
}

size_t pv_serial_input(struct pv_serial *serial, const void *data, size_t len)
{
	size_t room = PV_SERIAL_INPUT_MAX - serial->input.len;
	size_t taken = len < room ? len : room;
	serial->refused = taken < len;
	if (pv_bytes_append(&serial->input, data, taken) < 0)
		return 0;
	refill(serial);
	update_irq(serial);
	return taken;
}

bool pv_serial_is_open(const struct pv_serial *serial)
{
	return serial->ier & IER_RDI;
}

/* --- snapshots --- */

static void save_uint(struct pv_pack *pack, const char *key, uint64_t value)
{
	pv_pack_str(pack, key);
	pv_pack_uint(pack, value);
}

static void save_bool(struct pv_pack *pack, const char *key, bool value)
{
	pv_pack_str(pack, key);
	pv_pack_bool(pack, value);
}

void pv_serial_save(const struct pv_serial *serial, struct pv_pack *pack)
{
	uint8_t fifo[PV_SERIAL_FIFO];
	for (unsigned i = 0; i < serial->fifo_count; i++)
		fifo[i] = serial->fifo[(serial->fifo_head + i) % PV_SERIAL_FIFO];
	pv_pack_map(pack, 12);
	save_uint(pack, "ier", serial->ier);
	save_uint(pack, "fcr", serial->fcr);
	save_uint(pack, "lcr", serial->lcr);
	save_uint(pack, "mcr", serial->mcr);
	save_uint(pack, "scratch", serial->scratch);
	save_uint(pack, "lsr_errors", serial->lsr_errors);
	save_uint(pack, "divisor", serial->divisor);
	save_bool(pack, "thr_pending", serial->thr_pending);
	save_bool(pack, "irq_level", serial->irq_level);
	save_bool(pack, "opened", serial->opened);
	pv_pack_str(pack, "fifo");
	pv_pack_bin(pack, fifo, serial->fifo_count);
	pv_pack_str(pack, "input");
	pv_pack_bin(pack, serial->input.data, serial->input.len);
}

int pv_serial_load(struct pv_serial *serial, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "the serial port", err);
	size_t fifo_size, input_size;
	serial->ier = (uint8_t)pv_fields_uint(&fields, "ier", IER_MASK);
	serial->fcr = (uint8_t)pv_fields_uint(&fields, "fcr", FCR_ENABLE | FCR_TRIGGER);
	serial->lcr = (uint8_t)pv_fields_uint(&fields, "lcr", UINT8_MAX);
	serial->mcr = (uint8_t)pv_fields_uint(&fields, "mcr", MCR_MASK);
	serial->scratch = (uint8_t)pv_fields_uint(&fields, "scratch", UINT8_MAX);
	serial->lsr_errors = (uint8_t)pv_fields_uint(&fields, "lsr_errors", LSR_OE);
	serial->divisor = (uint16_t)pv_fields_uint(&fields, "divisor", UINT16_MAX);
	serial->thr_pending = pv_fields_bool(&fields, "thr_pending");
	serial->irq_level = pv_fields_bool(&fields, "irq_level");
	serial->opened = pv_fields_bool(&fields, "opened");
	const void *fifo = pv_fields_bytes(&fields, "fifo", sizeof(serial->fifo), &fifo_size);
	const void *input = pv_fields_bytes(&fields, "input", PV_SERIAL_INPUT_MAX, &input_size);
	int code = pv_fields_end(&fields);
	if (code < 0)
		return code;
	if (fifo_size > 0)
		memcpy(serial->fifo, fifo, fifo_size);
	serial->fifo_head = 0;
	serial->fifo_count = (unsigned)fifo_size;
	pv_bytes_consume(&serial->input, serial->input.len);
	if (pv_bytes_append(&serial->input, input, input_size) < 0)
		return pv_err_nomem(err, "typed input");
	return 0;
}
