/*
 * Keyboard controller with no keyboard: command 0xfe to port 0x64 resets the machine.
 *
 * The status reads as "output full, input empty" for ever. Linux' i8042 driver concludes after 16
 * reads that there is no controller (with an input that never empties it would wait half a second
 * for answers), and its reboot code, which waits until the input is empty, does not wait.
 */
#include "vmm/i8042.h"

#include <stdint.h>
#include <string.h>

#define STATUS_NOBODY 0xfdu /* all but bit 1, input buffer full */
#define COMMAND_RESET 0xfeu

static void read_data(void *ctx, uint64_t offset, void *data, unsigned len)
{
	memset(data, 0xff, len);
}

static void write_data(void *ctx, uint64_t offset, const void *data, unsigned len)
{
}

static void read_status(void *ctx, uint64_t offset, void *data, unsigned len)
{
	memset(data, 0xff, len);
	*(uint8_t *)data = STATUS_NOBODY;
}

static void write_command(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	const struct pv_i8042 *i8042 = ctx;
	if (*(const uint8_t *)data == COMMAND_RESET)
		i8042->reset(i8042->ctx);
}

const struct pv_bus_ops pv_i8042_data_ops = {.read = read_data, .write = write_data};
const struct pv_bus_ops pv_i8042_status_ops = {.read = read_status, .write = write_command};
