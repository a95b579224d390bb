/*
 * The pieces that the files lab/config*.c share.
 */
#ifndef PV_LAB_CONFIG_PRIVATE_H
#define PV_LAB_CONFIG_PRIVATE_H

struct pv_config;
struct pv_err;
struct pv_profile;
struct pv_toml_value;

/* A new string from a constant format with two strings in it, or NULL. */
char *pv_config_format(const char *fmt, const char *a, const char *b);

/* `path` as usable from the current directory when it was written in `dir`; a new string, or NULL.
 */
char *pv_config_resolve(const char *dir, const char *path);

/* Adds a warning; out of memory loses it. */
void pv_config_warn(struct pv_config *config, const char *fmt, const char *a, const char *b);

/* "line N: <where>`<key>` must be <wanted>, not <type>". Returns -EINVAL. */
int pv_config_wrong_type(const char *where, const char *key, const char *wanted,
    const struct pv_toml_value *value, struct pv_err *err);

/* Replaces `*out` by a copy of a string value. */
int pv_config_take_string(const char *where, const char *key, const struct pv_toml_value *value,
    char **out, struct pv_err *err);

/* Adds the profile `name` from its table; relative paths start at `dir`. */
int pv_config_add_profile(struct pv_config *config, const char *name, const char *dir,
    const struct pv_toml_value *table, struct pv_err *err);
void pv_config_finish_profile(struct pv_profile *profile);

#endif
