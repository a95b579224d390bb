/*
 * Saved guests without guests, beside fake_lab.h: the steps of lab/vm_private.h for saving and
 * restoring, and templates whose files hold a line of text. What fails is chosen by the VM's name:
 *
 *   has "unfrozen"	stands still, but cannot be frozen
 *   has "unwritten"	its file cannot be written
 *   has "unbuilt"	no machine can be made of it
 *   has "unmoved"	its guest dies when it goes on
 *   has "unreturned"	cannot go back to its baseline
 */
#ifndef PV_TESTS_FAKE_TEMPLATE_H
#define PV_TESTS_FAKE_TEMPLATE_H

/* What was done since it was emptied, as "begin a;freeze a;end a;build a;go a;back a;". */
extern char fake_template_log[4096];

/* Templates that exist now: none may be left when everything is finished. */
extern unsigned fake_templates;

/* Adds to the log. Any thread. */
void fake_template_note(const char *what, const char *name);

#endif
