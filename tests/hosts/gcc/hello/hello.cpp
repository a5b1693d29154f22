// Greets every function that is compiled.
#include <cstdio>

#include <gcc-plugin.h>
#include <plugin-version.h>
#include <tree.h>

int plugin_is_GPL_compatible;

static void greet(void *function, void *) {
  std::fprintf(stderr, "Hello, %s!\n", IDENTIFIER_POINTER(DECL_NAME(static_cast<tree>(function))));
}

int plugin_init(plugin_name_args *arguments, plugin_gcc_version *version) {
  if (!plugin_default_version_check(version, &gcc_version)) return 1;
  register_callback(arguments->base_name, PLUGIN_FINISH_PARSE_FUNCTION, greet, nullptr);
  return 0;
}
