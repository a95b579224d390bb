/*
 * Values of the configuration: texts and paths made of them, and what is said of those that are odd
 * or wrong. Pure but for the warnings; the readers of lab/config*.c call it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "lab/config.h"
#include "lab/config_private.h"
#include "lab/toml.h"

char *pv_config_format(const char *fmt, const char *a, const char *b)
{
	struct pv_bytes text = {0};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	int status = pv_bytes_printf(&text, fmt, a, b);
#pragma GCC diagnostic pop
	if (status || !pv_bytes_text(&text)) {
		pv_bytes_finish(&text);
		return NULL;
	}
	return (char *)text.data;
}

char *pv_config_resolve(const char *dir, const char *path)
{
	if (path[0] == '/' || strncmp(path, "{out}", 5) == 0 || !dir || strcmp(dir, ".") == 0)
		return strdup(path);
	return pv_config_format("%s/%s", dir, path);
}

void pv_config_warn(struct pv_config *config, const char *fmt, const char *a, const char *b)
{
	char *text = pv_config_format(fmt, a, b);
	char **grown =
	    text ? reallocarray(config->warnings, config->warning_count + 1, sizeof(char *)) : NULL;
	if (!grown) {
		free(text);
		return;
	}
	config->warnings = grown;
	config->warnings[config->warning_count++] = text;
}

int pv_config_wrong_type(const char *where, const char *key, const char *wanted,
    const struct pv_toml_value *value, struct pv_err *err)
{
	return pv_err_set(err, PV_ERR_INPUT, EINVAL, "line %u: %s`%s` must be %s, not %s",
	    value->line, where, key, wanted, pv_toml_type_name(value->type));
}

int pv_config_take_string(const char *where, const char *key, const struct pv_toml_value *value,
    char **out, struct pv_err *err)
{
	if (value->type != PV_TOML_STRING)
		return pv_config_wrong_type(where, key, "a string", value, err);
	free(*out);
	*out = strdup(value->u.string.text);
	return *out ? 0 : pv_err_nomem(err, "configuration");
}
