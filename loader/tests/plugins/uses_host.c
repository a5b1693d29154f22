/* A plugin that can be opened by its host alone. */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

extern int host_answer(int);
extern int host_calls;
extern const char *host_registry;

/* Registers itself as soon as it is opened, with what the host's constructor has set up. */
__attribute__((constructor)) static void enter(void)
{
    if (!host_registry)
        abort();
    host_answer(0);
}

const char *name(void) { return host_registry; }
int answer(int number) { return host_answer(number); }
int calls_of_host(void) { return host_calls; }

/* What it would find if it started a program. */
const char *variable(const char *name) { return getenv(name); }
const char *in_environment(const char *name)
{
    extern char **environ;
    for (char **entry = environ; *entry; entry++)
        for (size_t index = 0; (*entry)[index] == name[index]; index++)
            if (!name[index + 1])
                return *entry;
    return "absent";
}
