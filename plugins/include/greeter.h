/*
 * What greeter expects of a plugin: three functions with C linkage.
 *
 * All text is UTF-8 and ends with a NUL. Memory goes back to where it came from: host and plugin may have been built
 * with different allocators, so the host gives every greeting back to the plugin that made it.
 */
#ifndef GREETER_H
#define GREETER_H

/* With -fvisibility=hidden, these functions are all that a plugin exports. */
#define GREETER_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/* The plugin's name. It belongs to the plugin and stays valid as long as the plugin is loaded. */
GREETER_EXPORT const char *plugin_name(void);

/* A greeting for `name`, to be given back with plugin_free; NULL when there is none (no memory, a name it cannot use). */
GREETER_EXPORT char *plugin_greet(const char *name);

/* Takes back what plugin_greet returned. NULL is allowed. */
GREETER_EXPORT void plugin_free(char *greeting);

#ifdef __cplusplus
}
#endif

#endif
