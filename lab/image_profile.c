/*
 * profile.provium.toml of an image. Theory: people read it, change it and copy from it, so it
 * explains itself; its paths are relative, so the folder can be moved. The record is a comment, as
 * provium.toml has no key for it; a file without a good one just means that the image is made
 * again.
 */
#include "lab/image_profile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"

#define PROFILE_MAX 65536
#define RECORD	    "# provium-image 1 "

/* The default command line, word by word, with the reason. */
static const struct {
	const char *word;
	const char *reason;
} words[] = {
    {"console=ttyS0",	      "messages, and a panic whole, reach the console log"				  },
    {"quiet",	       "only warnings and worse: each character on a serial line interrupts the guest"},
    {"no_timer_check",      "the timer of a virtual machine works; do not spend time on proving it"	      },
    {"random.trust_cpu=on", "random numbers are there at once, also without virtio-rng"		       },
    {"cryptomgr.notests",	  "the self-tests of ciphers at boot take a sixth of it"				},
};

#define WORDS (sizeof(words) / sizeof(words[0]))

/* A path may hold anything; in a comment, a control character would be a syntax error. */
static int add_plain(struct pv_bytes *out, const char *text)
{
	int status = 0;
	for (; *text && !status; text++)
		status = pv_bytes_append(
		    out, (unsigned char)*text < 0x20 || *text == 0x7f ? "?" : text, 1);
	return status;
}

/* A basic string of TOML. */
static int add_quoted(struct pv_bytes *out, const char *text)
{
	int status = pv_bytes_append(out, "\"", 1);
	for (; *text && !status; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20 || c == 0x7f)
			status = pv_bytes_printf(out, "\\u%04x", c);
		else if (c == '"' || c == '\\')
			status = pv_bytes_printf(out, "\\%c", c);
		else
			status = pv_bytes_append(out, text, 1);
	}
	return status ? status : pv_bytes_append(out, "\"", 1);
}

static int add_cmdline(struct pv_bytes *out, const char *cmdline)
{
	int status = 0;
	if (cmdline) {
		status = pv_bytes_printf(out, "cmdline = ");
		if (!status)
			status = add_quoted(out, cmdline);
		return status ? status : pv_bytes_printf(out, "\n");
	}
	status = pv_bytes_printf(out, "\n# The words of the command line:\n");
	for (size_t i = 0; i < WORDS && !status; i++)
		status = pv_bytes_printf(out, "#   %-20s %s\n", words[i].word, words[i].reason);
	if (!status)
		status = pv_bytes_printf(out, "cmdline = \"");
	for (size_t i = 0; i < WORDS && !status; i++)
		status = pv_bytes_printf(out, "%s%s", i ? " " : "", words[i].word);
	return status ? status : pv_bytes_printf(out, "\"\n");
}

int pv_image_profile_write(struct pv_bytes *out, const char *name, const char *origin,
    const char *cmdline, const struct pv_image_record *record)
{
	int status =
	    pv_bytes_printf(out, "# The guest `%s`, made by `provium image build` from ", name);
	if (!status)
		status = add_plain(out, origin);
	if (!status)
		status = pv_bytes_printf(out,
		    ".\n# Made again when that changes; for changes of your own, copy this "
		    "folder.\n" RECORD "inputs=%s kernel=%" PRIu64 " initrd=%" PRIu64
		    " loaded=%zu included=%zu release=%s missing=%s\n\nkernel = \"" PV_IMAGE_KERNEL
		    "\"\ninitrd = \"" PV_IMAGE_INITRD "\"\nguest_os = \"linux\"\n"
		    "# Seconds; hosts without hardware virtualization are slow.\n"
		    "agent_boot_timeout = 120\n",
		    record->inputs, record->kernel_size, record->initrd_size, record->loaded,
		    record->included, *record->release ? record->release : "-",
		    *record->missing ? record->missing : "-");
	return status ? status : add_cmdline(out, cmdline);
}

bool pv_image_profile_read(const char *path, struct pv_image_record *record)
{
	struct pv_err ignored = PV_ERR_INIT;
	struct pv_bytes text = {0};
	*record = (struct pv_image_record){0};
	bool found =
	    !pv_fd_slurp("profile", path, PROFILE_MAX, &text, &ignored) && pv_bytes_text(&text);
	const char *line = found ? strstr((const char *)text.data, RECORD) : NULL;
	_Static_assert(
	    PV_HASH_TEXT == 65 && PV_IMAGE_RELEASE_MAX == 65 && PV_IMAGE_MISSING_MAX == 512,
	    "the widths below");
	found =
	    line && sscanf(line + strlen(RECORD),
			"inputs=%64[0-9a-f] kernel=%" SCNu64 " initrd=%" SCNu64
			" loaded=%zu included=%zu release=%64s missing=%511s",
			record->inputs, &record->kernel_size, &record->initrd_size, &record->loaded,
			&record->included, record->release, record->missing) == 7;
	if (strcmp(record->release, "-") == 0)
		record->release[0] = '\0';
	if (strcmp(record->missing, "-") == 0)
		record->missing[0] = '\0';
	pv_bytes_finish(&text);
	return found;
}
