/*
 * `provium init`. Theory: three things make a first passing test: a guest, a provium.toml that
 * finds it, and a test. What is there already is kept, so the command can be given again, for
 * example when it could not find a kernel the first time. The kernel is the one given; else the one
 * that runs here, if its file can be read; else the newest in /boot.
 */
#include "runner/init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "lab/image.h"
#include "runner/image.h"

#define PATH_SIZE 4096

static const char config_text[] =
    "# What `provium` reads in this folder. docs/configuration.md of Provium has all keys.\n"
    "[provium]\n"
    "roots = [\"tests\"]\n"
    "\n"
    "# Each folder in .provium that holds a profile.provium.toml is a guest; its name is what "
    "tests say.\n"
    "# Make more of them with `provium image build`.\n"
    "[profiles]\n"
    "from_dir = \".provium\"\n";

/* %s: the guest's name. */
static const char test_head[] = "-- A first test. Run it with: provium tests/\n"
				"local vm = provium:vm(\"first\", \"";
static const char test_tail[] = "\"):boot()\n"
				"\n"
				"test(\"a command runs in the guest\", function(t)\n"
				"\tlocal r = vm:run(\"uname -s\")\n"
				"\tt:assert_eq(r.exit_code, 0)\n"
				"\tt:assert_eq(r.stdout, \"Linux\\n\")\n"
				"end)\n"
				"\n"
				"test(\"a file comes back as it was written\", function(t)\n"
				"\tvm:write_file(\"/tmp/hello\", \"hello\\n\")\n"
				"\tt:assert_eq(vm:read_file(\"/tmp/hello\"), \"hello\\n\")\n"
				"end)\n";

static int fail(const struct pv_err *err)
{
	fprintf(stderr, "provium init: %s\n", err->text);
	return -err->code;
}

static void help(void)
{
	fputs(
	    "provium init writes a provium.toml and a first test, and makes a guest for it. What "
	    "is there already is kept.\n\n"
	    "usage: provium init [DIR] [--deb FILE | --kernel FILE [--modules DIR] | --running] "
	    "[OPTIONS]\n\n"
	    "Without a kernel given, the one that runs here is taken, or the newest in /boot.\n\n",
	    stdout);
	pv_runner_image_help_options(false);
}

/* Writes a file unless there is one, and says which of the two. */
static int write_new(const char *path, const char *text, struct pv_err *err)
{
	struct stat st;
	if (lstat(path, &st) == 0) {
		printf("kept %s (it is there already)\n", path);
		return 0;
	}
	int status = pv_fd_replace_file(path, text, strlen(text), 0644, err);
	if (!status)
		printf("wrote %s\n", path);
	return status;
}

/* --- a kernel of this host --- */

static bool is_readable(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_running_kernel(void)
{
	struct utsname host;
	char path[PATH_SIZE];
	if (uname(&host) < 0)
		return false;
	snprintf(path, sizeof(path), "/boot/vmlinuz-%s", host.release);
	if (is_readable(path))
		return true;
	snprintf(path, sizeof(path), "/lib/modules/%s/vmlinuz", host.release);
	return is_readable(path);
}

/* The newest kernel in /boot that can be read and has its modules; false when there is none. */
static bool newest_in_boot(char kernel[PATH_SIZE], char modules[PATH_SIZE])
{
	static const char prefix[] = "vmlinuz-";
	char newest[256] = "";
	DIR *boot = opendir("/boot");
	if (!boot)
		return false;
	for (const struct dirent *entry; (entry = readdir(boot));) {
		const char *release = entry->d_name + sizeof(prefix) - 1;
		if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0 ||
		    (*newest && strverscmp(release, newest) < 0))
			continue;
		snprintf(kernel, PATH_SIZE, "/boot/%s", entry->d_name);
		snprintf(modules, PATH_SIZE, "/lib/modules/%s", release);
		if (is_readable(kernel) && access(modules, R_OK) == 0)
			snprintf(newest, sizeof(newest), "%s", release);
	}
	closedir(boot);
	snprintf(kernel, PATH_SIZE, "/boot/vmlinuz-%s", newest);
	snprintf(modules, PATH_SIZE, "/lib/modules/%s", newest);
	return *newest;
}

/* Fills in the source when none was given. Returns 0, or -ENOENT with a sentence. */
static int choose_source(struct pv_runner_image_words *words, char kernel[PATH_SIZE],
    char modules[PATH_SIZE], struct pv_err *err)
{
	struct pv_image_source *source = &words->options.source;
	if (pv_runner_image_has_source(words))
		return 0;
	if (has_running_kernel()) {
		source->running = true;
		return 0;
	}
	if (!newest_in_boot(kernel, modules))
		return pv_err_set(err, PV_ERR_INPUT, ENOENT,
		    "no kernel for the guest can be read in /boot; give a package "
		    "linux-image-*.deb by --deb, or a "
		    "file by --kernel");
	source->kernel = kernel;
	source->modules = modules;
	return 0;
}

/* --- the whole --- */

/* The guest is large, and made again at will. */
static int write_ignore(const char *folder, struct pv_err *err)
{
	char path[2 * PATH_SIZE];
	struct stat st;
	snprintf(path, sizeof(path), "%s.provium/.gitignore", folder);
	return lstat(path, &st) == 0 ? 0 : pv_fd_replace_file(path, "*\n", 2, 0644, err);
}

static int make_guest(struct pv_runner_image_words *words, const char *folder, struct pv_err *err)
{
	char kernel[PATH_SIZE], modules[PATH_SIZE], out_dir[2 * PATH_SIZE], profile[3 * PATH_SIZE];
	struct pv_image_result result;
	snprintf(out_dir, sizeof(out_dir), "%s.provium/%s", folder, words->options.name);
	snprintf(profile, sizeof(profile), "%s/profile.provium.toml", out_dir);
	words->options.out_dir = out_dir;
	if (!pv_runner_image_has_source(words) && access(profile, F_OK) == 0) {
		printf("kept %s (it is there already)\n", profile);
		return 0;
	}
	int status = choose_source(words, kernel, modules, err);
	if (!status)
		status = write_ignore(folder, err);
	if (!status)
		status = pv_image_build(&words->options, &result, err);
	if (status)
		return status;
	pv_runner_image_show(&words->options, &result);
	pv_image_result_finish(&result);
	return 0;
}

static int init(struct pv_runner_image_words *words)
{
	struct pv_err err = PV_ERR_INIT;
	char folder[PATH_SIZE] = "", path[2 * PATH_SIZE], test[2048];
	const char *given = words->folder && strcmp(words->folder, ".") != 0 ? words->folder : NULL;
	if (given && (size_t)snprintf(folder, sizeof(folder), "%s%s", given,
			 given[strlen(given) - 1] == '/' ? "" : "/") >= sizeof(folder)) {
		pv_err_set(&err, PV_ERR_INPUT, ENAMETOOLONG, "the path of the folder is too long");
		return fail(&err);
	}
	if (words->options.out_dir) {
		pv_err_set(&err, PV_ERR_INPUT, EINVAL,
		    "the guest goes to .provium/ where provium.toml looks for it; leave out --out");
		return fail(&err);
	}
	if (!words->options.name)
		words->options.name = "linux";
	snprintf(path, sizeof(path), "%sprovium.toml", folder);
	int status = write_new(path, config_text, &err);
	snprintf(path, sizeof(path), "%stests/first.test.lua", folder);
	snprintf(test, sizeof(test), "%s%.200s%s", test_head, words->options.name, test_tail);
	if (!status)
		status = write_new(path, test, &err);
	if (!status)
		status = make_guest(words, folder, &err);
	if (status)
		return fail(&err);
	printf("next: %s%s%sprovium tests/\n", given ? "cd " : "", given ? given : "",
	    given ? " && " : "");
	return 0;
}

int pv_runner_init(char *const *words, size_t count)
{
	struct pv_runner_image_words parsed = {0};
	struct pv_err err = PV_ERR_INIT;
	int status = pv_runner_image_parse(&parsed, words, count, true, &err);
	if (status)
		fail(&err);
	else if (parsed.help)
		help();
	else
		status = init(&parsed);
	pv_runner_image_finish(&parsed);
	return status;
}
