/*
 * Entropy from the host, after a restore (random(4)). Mixing it into the pool is not enough, since
 * the generator takes from the pool only now and then: it is told to do so at once, which makes the
 * output of all processors, and what is kept in batches for them, depend on the new bytes.
 *
 * An agent that came before the init keeps the device open: an init may have no /dev at all, and
 * copies of such a guest must part as well. The node that it is opened by lies in the initramfs and
 * is gone at once, so no file system that an init mounts stays busy. An agent that was started by
 * an init opens what /dev has, each time, because where that is may change.
 */
#include "agent/guest/entropy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/proto/protocol.h"

/* struct rand_pool_info with room for its data. */
struct pool_info {
	int entropy_bits;
	int size;
	uint8_t data[PV_PROTOCOL_ENTROPY_MAX];
};

/* Fixed numbers (Linux: Documentation/admin-guide/devices.txt). */
#define MEM_MAJOR     1
#define URANDOM_MINOR 9

#define NODE "/.provium-urandom"

int pv_entropy_open(void)
{
	if (mknod(NODE, S_IFCHR | 0600, makedev(MEM_MAJOR, URANDOM_MINOR)) < 0)
		return -1;
	int fd = open(NODE, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	unlink(NODE);
	return fd;
}

static int find_device(void)
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

void pv_entropy_add(int device, struct pv_span data)
{
	if (data.len == 0 || data.len > PV_PROTOCOL_ENTROPY_MAX)
		return;
	struct pool_info info = {.entropy_bits = (int)data.len * 8, .size = (int)data.len};
	memcpy(info.data, data.data, data.len);
	int fd = device >= 0 ? device : find_device();
	int code = fd < 0 ? errno : add(fd, &info);
	if (fd >= 0 && fd != device)
		close(fd);
	explicit_bzero(&info, sizeof(info));
	if (code != 0)
		fprintf(stderr,
		    "provium-agent: this guest goes on from a snapshot with the random numbers of "
		    "its other copies: its kernel takes no entropy (%s)\n",
		    strerror(code));
}
