/*
 * finit_module(2) for each line of a list, in its order: whoever wrote the list has put what is
 * needed before what needs it. Loading a driver probes its devices before the call returns, so
 * behind this a vsock device is ready for use.
 */
#include "agent/guest/modules.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"

/* include/uapi/linux/module.h, since Linux 5.17. */
#define MODULE_INIT_COMPRESSED_FILE 4

#define LIST_MAX (256u << 10)

static int is_compressed(const char *path)
{
	size_t len = strlen(path);
	return len > 3 && strcmp(path + len - 3, ".ko") != 0;
}

static void load(const char *path, const char *parameters)
{
	int flags = is_compressed(path) ? MODULE_INIT_COMPRESSED_FILE : 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int code = 0;
	if (fd < 0 || syscall(SYS_finit_module, fd, parameters, flags) < 0)
		code = errno;
	pv_fd_close(&fd);
	if (code != 0 && code != EEXIST)
		fprintf(stderr, "provium-agent: module `%s`: %s (%s)\n", path, strerror(code),
		    strerrorname_np(code));
}

static void load_line(char *line)
{
	line[strcspn(line, "#")] = '\0';
	line += strspn(line, " \t\r");
	size_t len = strlen(line);
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		line[--len] = '\0';
	if (len == 0)
		return;
	char *parameters = line + strcspn(line, " \t");
	if (*parameters) {
		*parameters++ = '\0';
		parameters += strspn(parameters, " \t");
	}
	load(line, parameters);
}

void pv_modules_load(const char *list)
{
	struct pv_bytes text = {0};
	struct pv_err err = PV_ERR_INIT;
	int status = pv_fd_slurp("list of modules", list, LIST_MAX, &text, &err);
	if (status == 0)
		status = pv_bytes_append(&text, "", 1);
	if (status < 0 && status != -ENOENT)
		fprintf(stderr, "provium-agent: %s\n", err.text);
	char *next = status == 0 ? (char *)text.data : NULL;
	char *line;
	while ((line = strsep(&next, "\n")))
		load_line(line);
	pv_bytes_finish(&text);
}
