/*
 * Console device with one port: queue 0 takes what the test types to the guest, queue 1 brings what
 * the guest prints. No feature of its own is offered, so the configuration space is not used and
 * Linux makes it hvc0.
 *
 * Typed bytes wait in `input` until the driver gives buffers, and survive a reset of the device: a
 * test may type before the driver is up, and a driver begins with a reset. Printed bytes are copied
 * out of guest memory in small pieces before the callback sees them, because the guest could change
 * them while it looks. A kick handles at most one queue of chains, and at most OUTPUT_MAX bytes of
 * each; what a chain holds beyond that is dropped (Linux sends a page at most).
 *
 * Runs under the loop lock. virtio 1.2, section 5.3.
 */
#include "virtio/console.h"

#include "base/err.h"
#include "base/fields.h"
#include "base/pack.h"
#include "virtio/state.h"

#define RECEIVE_QUEUE  0
#define TRANSMIT_QUEUE 1
#define QUEUE_SIZE     64
#define OUTPUT_MAX     (256u << 10)

/* Moves typed bytes to the driver's buffers as far as there are any of both. */
static void deliver_input(struct pv_console *console)
{
	struct pv_virtio *dev = &console->virtio;
	struct pv_queue *queue = &dev->queues[RECEIVE_QUEUE];
	if (!dev->active || console->input.len == 0)
		return;
	struct pv_chain chain;
	for (unsigned i = 0; i < queue->state.size && console->input.len > 0; i++) {
		if (!pv_virtio_pop(dev, RECEIVE_QUEUE, &chain))
			break;
		const size_t moved =
		    pv_chain_write(&chain, 0, console->input.data, console->input.len);
		pv_bytes_consume(&console->input, moved);
		pv_queue_push(queue, chain.head, moved);
	}
	if (console->refused && console->input.len <= PV_CONSOLE_INPUT_MAX / 2) {
		console->refused = false;
		if (console->room)
			console->room(console->room_ctx);
	}
	pv_virtio_notify(dev, RECEIVE_QUEUE);
}

static void print_chain(struct pv_console *console, const struct pv_chain *chain)
{
	uint8_t piece[4096];
	for (size_t done = 0; done < OUTPUT_MAX;) {
		const size_t got = pv_chain_read(chain, done, piece, sizeof(piece));
		if (got == 0)
			break;
		console->output(console->output_ctx, piece, got);
		done += got;
	}
}

static void take_output(struct pv_console *console)
{
	struct pv_virtio *dev = &console->virtio;
	struct pv_queue *queue = &dev->queues[TRANSMIT_QUEUE];
	struct pv_chain chain;
	for (unsigned i = 0; i < queue->state.size; i++) {
		if (!pv_virtio_pop(dev, TRANSMIT_QUEUE, &chain))
			break;
		print_chain(console, &chain);
		pv_queue_push(queue, chain.head, 0);
	}
	pv_virtio_notify(dev, TRANSMIT_QUEUE);
}

static void kick(struct pv_virtio *dev, unsigned queue)
{
	struct pv_console *console = (struct pv_console *)dev;
	if (queue == RECEIVE_QUEUE)
		deliver_input(console);
	else
		take_output(console);
}

static const struct pv_virtio_ops ops = {.kick = kick};

void pv_console_init(struct pv_console *console, const struct pv_gmem *mem,
    void (*output)(void *ctx, const void *data, size_t len), void *ctx)
{
	*console = (struct pv_console){
	    .virtio =
		{
			 .ops = &ops,
			 .id = VIRTIO_ID_CONSOLE,
			 .queue_count = 2,
			 .queue_size = {QUEUE_SIZE, QUEUE_SIZE},
			 .mem = mem,
			 },
	    .output = output,
	    .output_ctx = ctx,
	};
	pv_virtio_init(&console->virtio);
}

void pv_console_finish(struct pv_console *console)
{
	if (console)
		pv_bytes_finish(&console->input);
}

size_t pv_console_input(struct pv_console *console, const void *data, size_t len)
{
	const size_t room = PV_CONSOLE_INPUT_MAX - console->input.len;
	const size_t taken = len < room ? len : room;
	console->refused = taken < len;
	if (taken == 0 || pv_bytes_append(&console->input, data, taken) < 0)
		return 0;
	deliver_input(console);
	return taken;
}

void pv_console_save(const struct pv_console *console, struct pv_pack *pack)
{
	pv_pack_map(pack, 2);
	pv_pack_str(pack, "virtio");
	pv_virtio_save(&console->virtio, pack);
	pv_pack_str(pack, "input");
	pv_pack_bin(pack, console->input.data, console->input.len);
}

int pv_console_load(struct pv_console *console, const struct pv_val *val, struct pv_err *err)
{
	struct pv_fields fields = pv_fields_begin(val, "a console", err);
	size_t len;
	const struct pv_val *virtio = pv_fields_value(&fields, "virtio");
	const void *data = pv_fields_bytes(&fields, "input", PV_CONSOLE_INPUT_MAX, &len);
	int status = pv_fields_end(&fields);
	if (status < 0)
		return status;
	struct pv_bytes input = {0};
	if (pv_bytes_append(&input, data, len) < 0)
		return pv_err_nomem(err, "console input");
	status = pv_virtio_load(&console->virtio, virtio, err);
	if (status < 0) {
		pv_bytes_finish(&input);
		return status;
	}
	pv_bytes_finish(&console->input);
	console->input = input;
	return 0;
}
