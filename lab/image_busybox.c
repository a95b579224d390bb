/*
 * busybox. Theory: the image has no libraries, so the program must be static, and the guest is
 * x86-64. Both are seen in its ELF header; a program header PT_INTERP names the loader that a
 * dynamic program needs. Which applets it has only it knows: it is run once with --list-full, or,
 * when it is built without that, with --list. One thread.
 */
#include "lab/image_busybox.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"

#define PROGRAM_MAX ((size_t)64 << 20)
#define LIST_MAX    65536
#define ADVICE	    "install busybox-static or give --busybox"

/* --- which one --- */

/* Why a program cannot be used, or NULL. */
static const char *objection(const void *data, size_t len)
{
	Elf64_Ehdr file;
	if (len < sizeof(file))
		return "is too short for a program";
	memcpy(&file, data, sizeof(file));
	if (memcmp(file.e_ident, ELFMAG, SELFMAG) != 0)
		return "is no ELF program";
	if (file.e_ident[EI_CLASS] != ELFCLASS64 || file.e_machine != EM_X86_64)
		return "is no x86-64 program";
	uint64_t size = (uint64_t)file.e_phnum * sizeof(Elf64_Phdr);
	if (file.e_phentsize != sizeof(Elf64_Phdr) || file.e_phoff > len ||
	    size > len - file.e_phoff)
		return "is a damaged program";
	for (unsigned i = 0; i < file.e_phnum; i++) {
		Elf64_Phdr part;
		memcpy(&part, (const char *)data + file.e_phoff + i * sizeof(part), sizeof(part));
		if (part.p_type == PT_INTERP)
			return "is not static, so it cannot run without libraries";
	}
	return NULL;
}

/* True for a usable program. When it is there but no good, `why` says so. */
static bool is_usable(const char *path, const char **why)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_bytes program = {0};
	*why = NULL;
	if (access(path, X_OK) < 0 || pv_fd_slurp("busybox", path, PROGRAM_MAX, &program, &ignored))
		return false;
	*why = objection(program.data, program.len);
	pv_bytes_finish(&program);
	return !*why;
}

static bool find_in_path(char *path, size_t size, const char **why, char *bad, size_t bad_size)
{
	const char *list = getenv("PATH");
	char folders[8192];
	snprintf(folders, sizeof(folders), "%s:/bin:/usr/bin", list ? list : "");
	char *rest = folders;
	for (const char *folder; (folder = strsep(&rest, ":"));) {
		const char *this_why;
		if (*folder != '/' || (size_t)snprintf(path, size, "%s/busybox", folder) >= size)
			continue;
		if (is_usable(path, &this_why))
			return true;
		if (this_why && !*why) {
			*why = this_why;
			snprintf(bad, bad_size, "%s", path);
		}
	}
	return false;
}

int pv_image_busybox_find(const char *given, char *path, size_t size, struct pv_err *err)
{
	char bad[512] = "";
	const char *why = NULL;
	if (!given) {
		if (find_in_path(path, size, &why, bad, sizeof(bad)))
			return 0;
		if (why)
			return pv_err_set(
			    err, PV_ERR_INPUT, ENOEXEC, "busybox `%s` %s; " ADVICE, bad, why);
		return pv_err_set(err, PV_ERR_INPUT, ENOENT, "there is no busybox here; " ADVICE);
	}
	if ((size_t)snprintf(path, size, "%s%s", strchr(given, '/') ? "" : "./", given) >= size)
		return pv_err_set(err, PV_ERR_INPUT, ENAMETOOLONG, "busybox: the path is too long");
	if (access(path, X_OK) < 0)
		return pv_err_system(err, errno, "busybox `%s`: cannot run it", given);
	if (is_usable(path, &why))
		return 0;
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
	    "busybox `%s` %s; install busybox-static or give another one", given,
	    why ? why : "cannot be read");
}

/* --- its applets --- */

/* Runs `path option` and appends what it prints. Returns its wait status, or -errno. */
static int run(const char *path, const char *option, struct pv_bytes *out)
{
	int ends[2];
	posix_spawn_file_actions_t actions;
	char *const argv[] = {(char *)"busybox", (char *)option, NULL};
	char *const environment[] = {NULL};
	pid_t child;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int failed = posix_spawn_file_actions_init(&actions);
	if (!failed) {
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
		posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
		failed = posix_spawn(&child, path, &actions, NULL, argv, environment);
		posix_spawn_file_actions_destroy(&actions);
	}
	pv_fd_close(&ends[1]);
	char buffer[4096];
	for (ssize_t got = 1; !failed && got != 0;) {
		got = read(ends[0], buffer, sizeof(buffer));
		if (got < 0 && errno != EINTR)
			break;
		/* What is too much is read and dropped, so that the program can end. */
		if (got > 0 && out->len < LIST_MAX && pv_bytes_append(out, buffer, (size_t)got))
			break;
	}
	pv_fd_close(&ends[0]);
	if (failed)
		return -failed;
	int status;
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return status;
}

/* A place in the image that a line may name: relative, plain letters, without `..`. */
static bool is_place(const char *line, size_t len)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.[/";
	if (len == 0 || len > 128 || line[0] == '/' || line[len - 1] == '/' ||
	    memmem(line, len, "..", 2) || memmem(line, len, "//", 2))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!memchr(allowed, line[i], sizeof(allowed) - 1))
			return false;
	}
	return true;
}

/* Takes the places out of a list; names without a folder go to bin/. Returns 1 when a shell is
 * among them, 0, or -ENOMEM. */
static int take_places(const struct pv_bytes *list, struct pv_bytes *links)
{
	bool shell = false;
	const char *text = (const char *)list->data;
	for (size_t at = 0, len; at < list->len; at += len + 1) {
		const char *end = memchr(text + at, '\n', list->len - at);
		len = end ? (size_t)(end - (text + at)) : list->len - at;
		const char *line = text + at;
		if (!is_place(line, len))
			continue;
		const char *slash = memrchr(line, '/', len);
		size_t name = slash ? len - (size_t)(slash + 1 - line) : len;
		const char *base = line + len - name;
		if (name == 7 && memcmp(base, "busybox", 7) == 0)
			continue;
		shell = shell || (name == 2 && memcmp(base, "sh", 2) == 0);
		if (pv_bytes_printf(links, "%s%.*s\n", slash ? "" : "bin/", (int)len, line))
			return -ENOMEM;
	}
	return shell;
}

int pv_image_busybox_read(
    const char *path, struct pv_bytes *program, struct pv_bytes *links, struct pv_err *err)
{
	static const char *const options[] = {"--list-full", "--list"};
	int status = pv_fd_slurp("busybox", path, PROGRAM_MAX, program, err);
	if (status)
		return status;
	for (size_t i = 0; i < 2; i++) {
		struct pv_bytes list = {0};
		size_t before = links->len;
		status = run(path, options[i], &list);
		int shell = status < 0 ? status : take_places(&list, links);
		pv_bytes_finish(&list);
		if (status < 0)
			return pv_err_system(err, -status, "busybox `%s`: cannot run it", path);
		if (shell < 0)
			return pv_err_nomem(err, "busybox");
		if (shell && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return 0;
		links->len = before;
	}
	return pv_err_set(err, PV_ERR_INPUT, ENOEXEC,
	    "busybox `%s` does not list a shell among its applets; " ADVICE, path);
}
