#include <dlfcn.h>
#include <stdio.h>

#include "host.h"

void host_say(const char *greeting) { printf("%s, World!\n", greeting); }

int main(int count, char **arguments) {
  for (int index = 1; index < count; index++) {
    void *plugin = dlopen(arguments[index], RTLD_NOW);
    void (*greet)(void) = plugin ? (void (*)(void))dlsym(plugin, "greet") : NULL;
    if (greet == NULL) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    greet();
  }
  return 0;
}
