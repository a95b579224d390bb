/*
 * Entropy from the host, after a restore (random(4)). Mixing it into the pool is not enough, since
 * the generator takes from the pool only now and then: it is told to do so at once, which makes the
 * output of all processors, and what is kept in batches for them, depend on the new bytes.
 *
 * The device is opened for each time: it happens once per restore, and where /dev is may have
 * changed since the last.
 */
#include "agent/guest/entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/proto/protocol.h"

/* struct rand_pool_info with room for its data. */
struct pool_info {
	int entropy_bits;
	int size;
	uint8_t data[PV_PROTOCOL_ENTROPY_MAX];
};

static int open_device(void)
{
	int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return fd >= 0 ? fd : open("/dev/random", O_WRONLY | O_CLOEXEC | O_NOCTTY);
}

/* Returns 0 or a positive errno. */
static int add(int fd, const struct pool_info *info)
{
	if (ioctl(fd, RNDADDENTROPY, info) < 0)
		return errno;
	/* Linux before 4.14 has no such request, and takes the entropy when it likes. */
	if (ioctl(fd, RNDRESEEDCRNG) < 0 && errno != EINVAL && errno != ENOTTY)
		return errno;
	return 0;
}

void pv_entropy_add(struct pv_span data)
{
	if (data.len == 0 || data.len > PV_PROTOCOL_ENTROPY_MAX)
		return;
	struct pool_info info = {.entropy_bits = (int)data.len * 8, .size = (int)data.len};
	memcpy(info.data, data.data, data.len);
	int fd = open_device();
	int code = fd < 0 ? errno : add(fd, &info);
	if (fd >= 0)
		close(fd);
	explicit_bzero(&info, sizeof(info));
	if (code != 0)
		fprintf(stderr,
		    "provium-agent: this guest goes on from a snapshot with the random numbers of "
		    "its other copies: its kernel takes no entropy (%s)\n",
		    strerror(code));
}
