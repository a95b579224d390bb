/*
 * Command line assembly. Theory: words separated by single spaces; later words win in the kernel,
 * so additions go to the end. A word that the caller gave is never changed; only a contradiction
 * with the agent's injection (another rdinit=) is refused.
 */
#include "lab/cmdline.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/fd.h"
#include "lab/options.h"
#include "lab/profile.h"

#define CMDLINE_FILE_MAX 65536

/* Appends the words of `text`, each behind one space. */
static int add_words(struct pv_bytes *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		if (isspace((unsigned char)text[i]) || text[i] == '\0') {
			i++;
			continue;
		}
		size_t begin = i;
		while (i < len && !isspace((unsigned char)text[i]) && text[i] != '\0')
			i++;
		if ((out->len && pv_bytes_append(out, " ", 1)) ||
		    pv_bytes_append(out, text + begin, i - begin))
			return -ENOMEM;
	}
	return 0;
}

/* Finds the last word that begins with `prefix`; returns its length and sets `*word`, or 0. */
static size_t find_word(const struct pv_bytes *line, const char *prefix, const char **word)
{
	const char *text = (const char *)line->data;
	size_t prefix_len = strlen(prefix), found = 0;
	for (size_t i = 0; i < line->len;) {
		size_t end = i;
		while (end < line->len && text[end] != ' ')
			end++;
		if (end - i >= prefix_len && memcmp(text + i, prefix, prefix_len) == 0) {
			*word = text + i;
			found = end - i;
		}
		i = end + 1;
	}
	return found;
}

static int add_base(const struct pv_profile *profile, const struct pv_options *options,
    struct pv_bytes *out, struct pv_err *err)
{
	if (options->kernel_cmdline)
		return add_words(out, options->kernel_cmdline, strlen(options->kernel_cmdline))
			   ? pv_err_nomem(err, "command line")
			   : 0;
	if (profile->cmdline_file) {
		struct pv_bytes file = {0};
		int status = pv_fd_slurp(
		    "cmdline_file", profile->cmdline_file, CMDLINE_FILE_MAX, &file, err);
		if (!status && add_words(out, (const char *)file.data, file.len))
			status = pv_err_nomem(err, "command line");
		pv_bytes_finish(&file);
		if (status)
			return pv_err_prefix(err, "profile `%s`", profile->name);
	}
	if (profile->cmdline && add_words(out, profile->cmdline, strlen(profile->cmdline)))
		return pv_err_nomem(err, "command line");
	return 0;
}

int pv_cmdline_build(const struct pv_profile *profile, const struct pv_options *options,
    struct pv_bytes *out, struct pv_err *err)
{
	int status = add_base(profile, options, out, err);
	if (status)
		return status;
	const char *append = options->kernel_cmdline_append;
	if (append && add_words(out, append, strlen(append)))
		return pv_err_nomem(err, "command line");
	const char *word = NULL;
	if (!find_word(out, "console=ttyS0", &word) && add_words(out, "console=ttyS0", 13))
		return pv_err_nomem(err, "command line");
	if (!profile->inject_agent)
		return 0;
	static const char rdinit[] = "rdinit=" PV_CMDLINE_AGENT_PATH;
	size_t len = find_word(out, "rdinit=", &word);
	if (len == 0)
		return add_words(out, rdinit, sizeof(rdinit) - 1)
			   ? pv_err_nomem(err, "command line")
			   : 0;
	if (len != sizeof(rdinit) - 1 || memcmp(word, rdinit, len) != 0)
		return pv_err_set(err, PV_ERR_INPUT, EINVAL,
		    "profile `%s`: the command line has `%.*s` but the agent is injected as `%s`; "
		    "remove it, or set inject_agent = false",
		    profile->name, (int)len, word, rdinit);
	return 0;
}
