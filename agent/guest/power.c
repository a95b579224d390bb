/*
 * The kernel announces a press of the power button on the multicast group `acpi_mc_group` of the
 * generic netlink family `acpi_event` (drivers/acpi/event.c); the driver behind it may be a module
 * (`button`). That needs neither the input layer nor device nodes.
 *
 * The family's number and its group's are asked for once (CTRL_CMD_GETFAMILY,
 * Documentation/userspace-api/netlink/intro.rst); that exchange is synchronous: the kernel answers
 * a request within the system call that makes it.
 *
 * Going down: SIGTERM to everybody, up to half a second for them to end, SIGKILL, sync, reboot(2).
 */
#include "agent/guest/power.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

#define FAMILY "acpi_event"
#define GROUP  "acpi_mc_group"
#define BUTTON "button/power"

/* drivers/acpi/event.c; there is no public header for these. */
#define ACPI_GENL_ATTR_EVENT 1
struct acpi_genl_event {
	char device_class[20];
	char bus_id[15];
	uint32_t type;
	uint32_t data;
};

#define TERM_GRACE (PV_CLOCK_SECOND / 2)

/* --- the end --- */

/* Takes away ended children until none is left or the deadline has passed. */
static void await_children(int64_t deadline)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t pid;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		int64_t left = deadline - pv_clock_now();
		if (pid < 0 || left <= 0)
			return;
		struct timespec wait = {
		    .tv_sec = left / PV_CLOCK_SECOND,
		    .tv_nsec = left % PV_CLOCK_SECOND,
		};
		sigtimedwait(&child, NULL, &wait);
	}
}

static void __attribute__((noreturn)) go_down(int how)
{
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	await_children(pv_clock_deadline(TERM_GRACE));
	kill(-1, SIGKILL);
	sync();
	reboot(how);
	/* reboot(2) came back: a kernel without power-off. The init must not return. */
	for (;;)
		pause();
}

void pv_power_signalled(void *ctx, int signal)
{
	switch (signal) {
	case SIGTERM:
	case SIGINT: go_down(RB_AUTOBOOT);
	case SIGUSR1: go_down(RB_HALT_SYSTEM);
	case SIGUSR2:
	case SIGPWR: go_down(RB_POWER_OFF);
	}
}

/* --- netlink --- */

/* The attribute of a type in a row of them, or NULL. */
static const struct nlattr *find_attr(const void *data, size_t len, uint16_t type)
{
	const char *at = data;
	while (len >= NLA_HDRLEN) {
		const struct nlattr *attr = (const struct nlattr *)at;
		if (attr->nla_len < NLA_HDRLEN || attr->nla_len > len)
			return NULL;
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		size_t step = NLA_ALIGN(attr->nla_len);
		if (step >= len)
			return NULL;
		at += step;
		len -= step;
	}
	return NULL;
}

static const void *attr_data(const struct nlattr *attr)
{
	return (const char *)attr + NLA_HDRLEN;
}

static size_t attr_len(const struct nlattr *attr)
{
	return attr->nla_len - NLA_HDRLEN;
}

/* Attributes behind the headers of a generic netlink message. */
static const void *message_attrs(const struct nlmsghdr *message, size_t *len)
{
	size_t headers = NLMSG_HDRLEN + GENL_HDRLEN;
	*len = message->nlmsg_len > headers ? message->nlmsg_len - headers : 0;
	return (const char *)message + headers;
}

static int ask_family(int fd)
{
	struct {
		struct nlmsghdr message;
		struct genlmsghdr command;
		struct nlattr attr;
		char name[NLA_ALIGN(sizeof(FAMILY))];
	} request = {
	    .message =
		{
			  .nlmsg_len = sizeof(request),
			  .nlmsg_type = GENL_ID_CTRL,
			  .nlmsg_flags = NLM_F_REQUEST,
			  },
	    .command = {.cmd = CTRL_CMD_GETFAMILY,				   .version = 1								    },
	    .attr = {.nla_len = NLA_HDRLEN + sizeof(FAMILY),.nla_type = CTRL_ATTR_FAMILY_NAME},
	    .name = FAMILY,
	};
	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* The number of our multicast group in a family's description, or 0. */
static uint32_t find_group(const void *attrs, size_t len)
{
	const struct nlattr *groups = find_attr(attrs, len, CTRL_ATTR_MCAST_GROUPS);
	/* Groups are numbered attributes, each a row of its own. */
	for (uint16_t i = 1; groups && i < 16; i++) {
		const struct nlattr *group = find_attr(attr_data(groups), attr_len(groups), i);
		if (!group)
			return 0;
		const struct nlattr *name =
		    find_attr(attr_data(group), attr_len(group), CTRL_ATTR_MCAST_GRP_NAME);
		const struct nlattr *number =
		    find_attr(attr_data(group), attr_len(group), CTRL_ATTR_MCAST_GRP_ID);
		if (name && number && attr_len(number) == 4 &&
		    strncmp(attr_data(name), GROUP, attr_len(name)) == 0)
			return pv_le32(attr_data(number));
	}
	return 0;
}

static int join_group(struct pv_power *power)
{
	_Alignas(struct nlmsghdr) char answer[4096];
	int status = ask_family(power->fd);
	if (status < 0)
		return status;
	ssize_t got = recv(power->fd, answer, sizeof(answer), 0);
	const struct nlmsghdr *message = (const struct nlmsghdr *)answer;
	if (got < 0)
		return -errno;
	if (!NLMSG_OK(message, (size_t)got) || message->nlmsg_type != GENL_ID_CTRL)
		return -ENOENT; /* NLMSG_ERROR: no such family */
	size_t len;
	const void *attrs = message_attrs(message, &len);
	const struct nlattr *number = find_attr(attrs, len, CTRL_ATTR_FAMILY_ID);
	uint32_t group = find_group(attrs, len);
	if (!number || attr_len(number) != 2 || group == 0)
		return -ENOENT;
	power->family = pv_le16(attr_data(number));
	if (setsockopt(power->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		return -errno;
	return 0;
}

static void take_event(struct pv_power *power, const struct nlmsghdr *message)
{
	struct acpi_genl_event event;
	size_t len;
	if (message->nlmsg_type != power->family)
		return;
	const void *attrs = message_attrs(message, &len);
	const struct nlattr *attr = find_attr(attrs, len, ACPI_GENL_ATTR_EVENT);
	if (!attr || attr_len(attr) < sizeof(event))
		return;
	memcpy(&event, attr_data(attr), sizeof(event));
	if (strncmp(event.device_class, BUTTON, strlen(BUTTON)) == 0)
		go_down(RB_POWER_OFF);
}

static void ready(void *ctx, uint32_t events)
{
	struct pv_power *power = ctx;
	_Alignas(struct nlmsghdr) char buffer[4096];
	ssize_t got = recv(power->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (got <= 0)
		return;
	size_t left = (size_t)got;
	for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	     NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
		take_event(power, message);
}

void pv_power_init(struct pv_power *power, struct pv_loop *loop)
{
	struct pv_err err = PV_ERR_INIT;
	*power = (struct pv_power){.loop = loop};
	/* Ctrl-Alt-Del then signals us instead of resetting the machine at once. */
	reboot(RB_DISABLE_CAD);
	power->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (power->fd < 0)
		return;
	if (join_group(power) < 0 ||
	    pv_loop_watch_add(loop, &power->watch, power->fd, EPOLLIN, ready, power, &err) < 0)
		pv_fd_close(&power->fd);
}
