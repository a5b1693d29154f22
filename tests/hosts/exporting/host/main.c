#include <dlfcn.h>
#include <stdio.h>

/* What plugins say, they say with this. */
void host_say(const char *greeting, const char *name) { printf("%s, %s!\n", greeting, name); }

int main(int count, char **arguments) {
  void *plugin = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
  void (*hello)(void) = plugin ? (void (*)(void))dlsym(plugin, "hello") : NULL;
  if (hello == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  hello();
  return 0;
}
