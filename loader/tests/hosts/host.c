/* A host: something that its plugins use, something that happens at its start with -DAT_START, and a main that is not to
 * be reached. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Used by plugins. */
int host_calls = 0;
int host_answer(int number)
{
    host_calls++;
    return number + 1;
}

/* Set up by the host's constructor, as objects of C++ are. */
const char *host_registry = NULL;
__attribute__((constructor)) static void set_up(void) { host_registry = "registered"; }

#ifdef AT_START
__attribute__((constructor(65535))) static void at_start(void) { AT_START; }
#endif

#ifdef AT_END
__attribute__((destructor)) static void at_end(void) { AT_END; }
#endif

#ifdef NEEDS
extern int NEEDS(void);
int (*needed)(void) = NEEDS;
#endif

int main(void)
{
    printf("main has run\n");
    fflush(stdout);
#ifdef IN_MAIN
    IN_MAIN;
#endif
    return 3;
}
